using Kernels.Harness.Models;

namespace Kernels.Harness.Tests.Models;

public sealed class LinearLayerRuleTests
{
    [Theory]
    [InlineData("model.layers.0.self_attn.q_proj.weight")]
    [InlineData("model.layers.31.mlp.down_proj.weight")]
    [InlineData("model.layers.0.block_sparse_moe.gate.weight")]
    [InlineData("lm_head.weight")]
    [InlineData("embed_out.weight")]
    [InlineData("gpt_neox.layers.0.attention.query_key_value.weight")]
    [InlineData("bert.encoder.layer.0.output.dense.weight")]
    [InlineData("time_embedding.linear_1.weight")]
    [InlineData("blk.0.attn_q.weight")]
    [InlineData("blk.12.ffn_down.weight")]
    [InlineData("output.weight")]
    [InlineData("layers.0.attention.wq.weight")]
    [InlineData("layers.0.feed_forward.w2.weight")]
    public void LinearLayers(string name) => Assert.True(LinearLayerRule.IsLinear(name, [64, 32]));

    [Theory]
    [InlineData("model.embed_tokens.weight")]
    [InlineData("tok_embeddings.weight")]
    [InlineData("token_embd.weight")]
    [InlineData("bert.embeddings.word_embeddings.weight")]
    [InlineData("transformer.wte.weight")]
    [InlineData("transformer.wpe.weight")]
    [InlineData("shared.weight")]
    [InlineData("decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight")]
    [InlineData("model.layers.0.input_layernorm.weight")]
    [InlineData("transformer.h.0.ln_1.weight")]
    [InlineData("blk.0.ssm_conv1d.weight")]
    [InlineData("transformer.h.0.attn.c_attn.weight")]
    [InlineData("model.layers.0.self_attn.q_proj.bias")]
    [InlineData("model.layers.0.self_attn.q_proj.qweight")]
    [InlineData("model.layers.0.self_attn.rotary_emb.inv_freq")]
    [InlineData("freqs_cos")]
    [InlineData(".weight")]
    [InlineData("weight")]
    [InlineData("")]
    public void OtherTensors(string name) => Assert.False(LinearLayerRule.IsLinear(name, [64, 32]));

    [Fact]
    public void OnlyMatricesThatAreNotEmpty()
    {
        const string Name = "lm_head.weight";
        Assert.False(LinearLayerRule.IsLinear(Name, []));
        Assert.False(LinearLayerRule.IsLinear(Name, [64]));
        Assert.False(LinearLayerRule.IsLinear(Name, [8, 64, 32]));
        Assert.False(LinearLayerRule.IsLinear(Name, [0, 32]));
        Assert.False(LinearLayerRule.IsLinear(Name, [64, 0]));
        Assert.True(LinearLayerRule.IsLinear(Name, [1, 1]));
    }
}
