using Kernels.Harness.Cases;

namespace Kernels.Harness.Tests.Cases;

public sealed class CaseIdTests
{
    [Theory]
    [InlineData("gemm/w4g128-a8/m128-n4096-k4096/t1/avx512vnni")]
    [InlineData("gemm/w4zg128-a8/m1-n4096-k14336/t2/avx2")]
    [InlineData("gemm/w8-u8/m0-n0-k0/t1024/ref")]
    [InlineData("gemm/w8-bf16/m1-n1-k1/t1/avx512bf16")]
    [InlineData("gemm/w4z-f16/m1-n1-k1/t1/avx512")]
    [InlineData("gemm/w4g128-a4/m1-n4096-k4096/t1/avx512vnni")]
    [InlineData("gemm/w8-dyn8/m1-n1-k1/t1/avx2")]
    [InlineData("gemm/w8-dynu8-bf16/m1-n1-k1/t1/avx2")]
    [InlineData("gemm/w8-a8-outlier1pct/m128-n4096-k4096/t1/avx512vnni")]
    [InlineData("gemm/w4-a8-outlier1pct-lora8/m1-n1-k1/t1/ref")]
    [InlineData("gemm/w4g128-f32-lora16/m1-n1-k1/t1/avx512")]
    [InlineData("gemm/w8x1pct-dyn8/m128-n4096-k4096/t1/avx512vnni")]
    [InlineData("gemm/w4zg40sdqx1pctbf16o-dynu8-f16/m1-n1-k1/t1/ref")]
    [InlineData("gemm/w8x1pctf16-dyn8-lora4/m1-n1-k1/t1/ref")]
    [InlineData("gemm/nf4b64sdqflat-f32/m1-n4096-k4096/t1/avx512")]
    [InlineData("gemm/w4g128-dyn4-f16-lora1/m1-n1-k1/t1/avx512")]
    [InlineData("quantize/s8-per-token/rows512-n4096/t1/avx512")]
    [InlineData("quantize/s8asym-per-tensor-f16/rows1-n1/t1/ref")]
    [InlineData("quantize/u4sym-g16-bf16/rows1-n1/t1/ref")]
    [InlineData("dequantize/w4g128-f32/rows4096-n4096/t1/avx512")]
    [InlineData("fused/rmsnorm-quantize-s8/rows512-n4096/t1/avx512")]
    [InlineData("fused/residual-rmsnorm-then-quantize-u8-bf16/rows512-n4096/t1/avx512")]
    [InlineData("fused/layernorm-bias-quantize-s8/rows512-n4096/t1/avx512")]
    [InlineData("fused/silu-mul-hadamard-then-quantize-s8/rows512-n4096/t1/avx512")]
    [InlineData("fused/silu-mul-hadamard-quantize-s4g128-f16/rows1-n1/t2/ref")]
    [InlineData("hadamard/f32/rows512-n4096/t1/avx512")]
    [InlineData("hadamard/bf16h128-out/rows512-n4096/t2/avx2")]
    [InlineData("kv_append/s8/h8-d128-c16384-q512/t1/avx512")]
    [InlineData("attention/decode-kv4/h32-g8-d128-c16384-q1/t1/avx512vnni")]
    [InlineData("attention/decode-kviu4/h32-g8-d128-b8-c16384-q1/t2/avx512vnni")]
    [InlineData("kv_append/u4-kivi64-bf16/h1-d8-c1-q1/t2/ref")]
    [InlineData("kv_append/f8-static-f16/h1-d8-c16-q0/t1/avx2")]
    [InlineData("rope/f32/rows512-h32-d128/t1/avx512")]
    [InlineData("rope/bf16-interleaved-r64/rows1-h8-d128/t1/ref")]
    public void WhatParsesPrintsAsItWas(string text)
    {
        Assert.True(CaseId.TryParse(text, out CaseId? id, out string error), error);
        Assert.Equal(text, id.ToString());
        Assert.Equal(id, CaseId.Parse(id.ToString()));
    }

    [Theory]
    [InlineData("", "five parts")]
    [InlineData("gemm/w8-a8/m1-n1-k1/t1", "five parts")]
    [InlineData("gemm/w8-a8/m1-n1-k1/t1/avx2/extra", "five parts")]
    [InlineData("conv/w8-a8/m1-n1-k1/t1/avx2", "'conv' is not an op")]
    [InlineData("gemm/w5-a8/m1-n1-k1/t1/avx2", "'w5-a8' is not a GEMM scheme")]
    [InlineData("gemm/w8/m1-n1-k1/t1/avx2", "'w8' is not a GEMM scheme")]
    [InlineData("gemm/w8-dyn8-f32/m1-n1-k1/t1/avx2", "is not a GEMM scheme")]
    [InlineData("gemm/w8-u8-outlier1pct/m1-n1-k1/t1/avx2", "is not a GEMM scheme")]
    [InlineData("gemm/w8-a8-lora16/m1-n1-k1/t1/avx2", "is not a GEMM scheme")]
    [InlineData("gemm/w8-f32-lora0/m1-n1-k1/t1/avx2", "is not a GEMM scheme")]
    [InlineData("gemm/w8-f32-lora16-lora16/m1-n1-k1/t1/avx2", "is not a GEMM scheme")]
    [InlineData("gemm/w4g8-a8/m1-n1-k1/t1/avx2", "'w4g8-a8' is not a GEMM scheme")]
    [InlineData("gemm/w8flat-a8/m1-n1-k1/t1/avx2", "is not a GEMM scheme")]
    [InlineData("gemm/w8g32oflat-a8/m1-n1-k1/t1/avx2", "is not a GEMM scheme")]
    [InlineData("gemm/nf4x1pct-f32/m1-n1-k1/t1/avx2", "is not a GEMM scheme")]
    [InlineData("dequantize/w4g128flat-f32/rows1-n1/t1/avx2", "is not a scheme of dequantization")]
    [InlineData("gemm/w4g0128-a8/m1-n1-k1/t1/avx2", "is not a GEMM scheme")]
    [InlineData("gemm/w8-a8/m1-k1-n1/t1/avx2", "'m1-k1-n1' is not a GEMM shape")]
    [InlineData("gemm/w8-a8/m-1-n1-k1/t1/avx2", "is not a GEMM shape")]
    [InlineData("gemm/w8-a8/m01-n1-k1/t1/avx2", "is not a GEMM shape")]
    [InlineData("gemm/w8-a8/m99999999999999999999-n1-k1/t1/avx2", "is not a GEMM shape")]
    [InlineData("gemm/w8-a8/m1-n1-k1/t0/avx2", "'t0' is not a number of threads")]
    [InlineData("gemm/w8-a8/m1-n1-k1/1/avx2", "'1' is not a number of threads")]
    [InlineData("gemm/w8-a8/m1-n1-k1/t1/AVX2", "'AVX2' is not the name of a variant")]
    [InlineData("gemm/w8-a8/m1-n1-k1/t1/", "'' is not the name of a variant")]
    [InlineData("quantize/u8asym-per-token/rows1-n1/t1/ref", "is not a scheme of quantization")]
    [InlineData("quantize/s8sym-per-token/rows1-n1/t1/ref", "is not a scheme of quantization")]
    [InlineData("quantize/s8-per-token-f32/rows1-n1/t1/ref", "is not a scheme of quantization")]
    [InlineData("quantize/s8-per-token/m1-n1/t1/ref", "is not a shape")]
    [InlineData("dequantize/w8-s8/rows1-n1/t1/ref", "is not a scheme of dequantization")]
    [InlineData("fused/rmsnorm-s8/rows1-n1/t1/ref", "is not a fused step")]
    [InlineData("fused/batchnorm-quantize-s8/rows1-n1/t1/ref", "is not a fused step")]
    [InlineData("fused/rmsnorm-quantize-s8-f32/rows1-n1/t1/ref", "is not a fused step")]
    [InlineData("fused/rmsnorm-quantize-s8g8/rows1-n1/t1/ref", "is not a fused step")]
    [InlineData("fused/hadamard-then-quantise-s8/rows1-n1/t1/ref", "is not a fused step")]
    [InlineData("fused/rmsnorm-quantize-s8/m1-n1/t1/ref", "is not a shape")]
    [InlineData("hadamard/f32h128/rows1-n128/t1/ref", "'f32h128' is not a scheme of rotation")]
    [InlineData("hadamard/f32h0/rows1-n128/t1/ref", "'f32h0' is not a scheme of rotation")]
    [InlineData("hadamard/f32h96/rows1-n128/t1/ref", "'f32h96' is not a scheme of rotation")]
    [InlineData("hadamard/s8/rows1-n128/t1/ref", "'s8' is not a scheme of rotation")]
    [InlineData("hadamard/f32/m1-n128/t1/ref", "is not a shape")]
    [InlineData("kv_append/u8/h8-d128-c16-q16/t1/ref", "'u8' is not a format of a KV cache")]
    [InlineData("kv_append/f32-static/h8-d128-c16-q16/t1/ref", "is not a format of a KV cache")]
    [InlineData("kv_append/f8-kivi64/h8-d128-c16-q16/t1/ref", "is not a format of a KV cache")]
    [InlineData("kv_append/s8-kivi24/h8-d128-c16-q16/t1/ref", "is not a format of a KV cache")]
    [InlineData("kv_append/s8-f32/h8-d128-c16-q16/t1/ref", "is not a format of a KV cache")]
    [InlineData("kv_append/s8/h8-d128-c16-q17/t1/ref", "is not a shape such as h8-d128-c16384-q512")]
    [InlineData("kv_append/s8/h8-d128-q1-c1/t1/ref", "is not a shape such as h8-d128-c16384-q512")]
    [InlineData("attention/decode-kv7/h8-g8-d8-c16-q1/t1/ref", "is not a scheme of attention")]
    [InlineData("attention/decode-kv8/h8-g8-d8-c16-q9/t1/ref", "is not a shape such as")]
    [InlineData("attention/decode-kv8/h8-g8-d8-b1-c16-q1/t1/ref", "is not a shape such as")]
    [InlineData("attention/decode-kv8/h8-g8-d8-b65-c16-q1/t1/ref", "is not a shape such as")]
    [InlineData("rope/s8/rows1-h1-d8/t1/ref", "is not a scheme of a rotary embedding")]
    [InlineData("rope/f32-half/rows1-h1-d8/t1/ref", "is not a scheme of a rotary embedding")]
    [InlineData("rope/f32-r3/rows1-h1-d8/t1/ref", "is not a scheme of a rotary embedding")]
    [InlineData("rope/f32-r16/rows1-h1-d8/t1/ref", "is not a shape")]
    [InlineData("rope/f32/rows1-n8/t1/ref", "is not a shape")]
    public void WhatIsNotAnIdSaysWhy(string text, string reason)
    {
        Assert.False(CaseId.TryParse(text, out _, out string error));
        Assert.Contains(reason, error, StringComparison.Ordinal);
    }

    [Fact]
    public void EveryIdOfTheCatalogHasOneSpellingAndIsUnique()
    {
        string[] ids = [.. CaseCatalog.Entries().Select(entry => entry.Spec.ToId(1, "ref").ToString())];
        Assert.Equal(ids.Length, ids.Distinct().Count());
        Assert.All(ids, id => Assert.Equal(id, CaseId.Parse(id).ToString()));
    }

    [Fact]
    public void TheCatalogHasWhatTheReadmePromises()
    {
        string[] specs = [.. CaseCatalog.Entries().Select(entry => entry.Spec.ToString())];
        foreach (string cell in new[]
            { "w8-a8", "w8-u8", "w8g128-a8", "w4-a8", "w4g32-a8", "w4g64-a8", "w4g128-a8", "w4zg128-a8", "w4g128-u8", "w8-f32", "w8-bf16", "w8-f16" })
        {
            foreach (string layer in new[] { "n4096-k4096", "n1024-k4096", "n14336-k4096", "n4096-k14336" })
            {
                foreach (int m in new[] { 1, 8, 32, 128, 512 })
                    Assert.Contains($"gemm/{cell}/m{m}-{layer}", specs);
            }
        }

        Assert.Contains("quantize/s8-per-token/rows512-n4096", specs);
    }

    [Theory]
    [InlineData("w8", 4096, 1)]
    [InlineData("w8", 0, 1)]
    [InlineData("w4g32", 64, 2)]
    [InlineData("w4g32", 65, 3)]
    [InlineData("w4g128", 64, 1)]
    [InlineData("w4g128", 0, 0)]
    public void GroupsOfAChannel(string text, long k, long groups)
    {
        Assert.True(WeightScheme.TryParse(text, out WeightScheme scheme));
        Assert.Equal(groups, scheme.GroupsOf(k));
    }
}
