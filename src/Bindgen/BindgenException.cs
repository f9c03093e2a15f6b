namespace Kernels.Bindgen;

/// <summary>Bindings cannot be generated; the message is one sentence for the user.</summary>
internal sealed class BindgenException(string message) : Exception(message);
