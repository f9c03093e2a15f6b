using System.Globalization;

namespace Kernels.Harness.Models;

/// <summary>What a format calls the tensors of a Llama model. {0} is the layer.</summary>
internal sealed record LlamaTensorNames(
    string Embedding, string AttentionNorm, string Query, string Key, string Value, string AttentionOutput, string FeedForwardNorm,
    string Gate, string Up, string Down, string Norm, string Classifier)
{
    private static readonly LlamaTensorNames s_llama2c = new(
        "tok_embeddings.weight", "layers.{0}.attention_norm.weight", "layers.{0}.attention.wq.weight", "layers.{0}.attention.wk.weight",
        "layers.{0}.attention.wv.weight", "layers.{0}.attention.wo.weight", "layers.{0}.ffn_norm.weight", "layers.{0}.feed_forward.w1.weight",
        "layers.{0}.feed_forward.w3.weight", "layers.{0}.feed_forward.w2.weight", "norm.weight", "output.weight");

    private static readonly LlamaTensorNames s_gguf = new(
        "token_embd.weight", "blk.{0}.attn_norm.weight", "blk.{0}.attn_q.weight", "blk.{0}.attn_k.weight", "blk.{0}.attn_v.weight",
        "blk.{0}.attn_output.weight", "blk.{0}.ffn_norm.weight", "blk.{0}.ffn_gate.weight", "blk.{0}.ffn_up.weight", "blk.{0}.ffn_down.weight",
        "output_norm.weight", "output.weight");

    private static readonly LlamaTensorNames s_huggingFace = new(
        "model.embed_tokens.weight", "model.layers.{0}.input_layernorm.weight", "model.layers.{0}.self_attn.q_proj.weight",
        "model.layers.{0}.self_attn.k_proj.weight", "model.layers.{0}.self_attn.v_proj.weight", "model.layers.{0}.self_attn.o_proj.weight",
        "model.layers.{0}.post_attention_layernorm.weight", "model.layers.{0}.mlp.gate_proj.weight", "model.layers.{0}.mlp.up_proj.weight",
        "model.layers.{0}.mlp.down_proj.weight", "model.norm.weight", "lm_head.weight");

    /// <summary>The names of a format.</summary>
    public static LlamaTensorNames Of(ModelFormat format) => format switch
    {
        ModelFormat.Llama2c => s_llama2c,
        ModelFormat.Gguf => s_gguf,
        _ => s_huggingFace,
    };

    /// <summary>A name with its layer.</summary>
    public static string InLayer(string name, int layer) =>
        name.Replace("{0}", layer.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal);
}
