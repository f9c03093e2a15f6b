using Kernels.Harness.Formats;

namespace Kernels.Harness.Models;

/// <summary>
/// Decides which tensors are weights of linear layers. No format says so: the rule is one on names and shapes, the same
/// for all.
/// <para>A tensor is the weight of a linear layer if</para>
/// <list type="number">
/// <item>it has two dimensions, neither of them zero;</item>
/// <item>its name is MODULE.weight, with any path before: this takes in *_proj.weight and lm_head.weight of Hugging
/// Face, blk.N.attn_q.weight, blk.N.ffn_up.weight and output.weight of GGUF, and wq ... w3 and output of
/// llama2.c;</item>
/// <item>MODULE is not an embedding (it contains "embed" or "embd", or is wte, wpe, shared, token_types or
/// relative_attention_bias; but embed_out, the head of GPT-NeoX, is linear), not a norm (it contains "norm", or starts
/// with "ln_"), and not a convolution (it contains "conv");</item>
/// <item>MODULE is not c_attn, c_fc or c_proj: GPT-2 stores these as [K, N] and other models under the same names as
/// [N, K], so to take them either way would silently exchange N and K for some.</item>
/// </list>
/// <para>So the head of a model with tied embeddings is not listed: the file has no tensor for it. Experts that are
/// stored together in three dimensions are not listed either.</para>
/// </summary>
public static class LinearLayerRule
{
    private const string Suffix = ".weight";

    private static readonly HashSet<string> s_notLinear = new(StringComparer.OrdinalIgnoreCase)
    {
        "wte", "wpe", "shared", "token_types", "relative_attention_bias", "c_attn", "c_fc", "c_proj",
    };

    /// <summary>Whether a tensor is the weight of a linear layer.</summary>
    /// <param name="tensor">The tensor, with its shape as [N out, K in].</param>
    public static bool IsLinear(ModelTensor tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        return IsLinear(tensor.Name, tensor.Shape);
    }

    /// <summary>Whether a tensor of that name and shape is the weight of a linear layer.</summary>
    /// <param name="name">The name in the file.</param>
    /// <param name="shape">The dimensions, outermost first.</param>
    public static bool IsLinear(string name, IReadOnlyList<long> shape)
    {
        ArgumentNullException.ThrowIfNull(name);
        ArgumentNullException.ThrowIfNull(shape);
        if (shape is not [> 0, > 0] || !name.EndsWith(Suffix, StringComparison.Ordinal))
        {
            return false;
        }

        string path = name[..^Suffix.Length];
        string module = path[(path.LastIndexOf('.') + 1)..];
        return module.Length > 0 && !IsEmbedding(module) && !IsNormOrConvolution(module) && !s_notLinear.Contains(module);
    }

    private static bool IsEmbedding(string module) =>
        (Contains(module, "embed") || Contains(module, "embd")) && module != "embed_out";

    private static bool IsNormOrConvolution(string module) =>
        Contains(module, "norm") || Contains(module, "conv") || module.StartsWith("ln_", StringComparison.OrdinalIgnoreCase);

    private static bool Contains(string module, string part) => module.Contains(part, StringComparison.OrdinalIgnoreCase);
}
