namespace Kernels.Harness.Models;

/// <summary>The formats of model files that are read.</summary>
public enum ModelFormat
{
    /// <summary>safetensors, one file or shards with an index.</summary>
    Safetensors,

    /// <summary>GGUF, version 2 or 3.</summary>
    Gguf,

    /// <summary>A llama2.c checkpoint: legacy, version 1 or version 2.</summary>
    Llama2c,
}
