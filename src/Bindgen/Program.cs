using Kernels.Bindgen;

return BindgenCommand.Run(args, Console.Out, Console.Error);
