return Kernels.Harness.Verbs.CommandLine.Run(args, Console.Out, Console.Error);
