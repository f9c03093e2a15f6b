using Kernels.Native;
using Xunit;

namespace Kernels.Tests;

/// <summary>The public enums have every value of the C ones, by number and, but for spelling, by name.</summary>
public class PublicEnumTests
{
    [Fact]
    public void Isa_is_krn_isa() => Assert.Equal(Names<krn_isa>("KRN_ISA_"), Names<Isa>("", ("Reference", "REF")));

    [Fact]
    public void CudaClass_is_krn_cuda_class() => Assert.Equal(Names<krn_cuda_class>("KRN_CUDA_CLASS_"), Names<CudaClass>(""));

    [Fact]
    public void CudaCeiling_is_krn_cuda_ceiling() => Assert.Equal(Names<krn_cuda_ceiling>("KRN_CUDA_CEILING_"), Names<CudaCeiling>(""));

    [Fact]
    public void KernelStatus_is_krn_status_code() => Assert.Equal(Names<krn_status_code>("KRN_", ("KRN_ERROR_", "")), Names<KernelStatus>(""));

    [Fact]
    public void ElementType_is_krn_type() => Assert.Equal(Names<krn_type>("KRN_TYPE_"), Names<ElementType>(""));

    [Fact]
    public void Granularity_is_krn_granularity() => Assert.Equal(Names<krn_granularity>("KRN_GRANULARITY_"), Names<Granularity>(""));

    [Fact]
    public void RopeLayout_is_krn_rope_layout() => Assert.Equal(Names<krn_rope_layout>("KRN_ROPE_"), Names<RopeLayout>(""));

    [Fact]
    public void RopeScaling_is_krn_rope_scaling() => Assert.Equal(Names<krn_rope_scaling>("KRN_ROPE_SCALING_"), Names<RopeScaling>(""));

    [Fact]
    public void Ceiling_is_krn_ceiling() => Assert.Equal(Names<krn_ceiling>("KRN_CEILING_"), Names<Ceiling>("", ("MultiplyAdd", "MADD")));

    [Fact]
    public void CpuFeatures_is_krn_cpu_feature() =>
        Assert.Equal(Names<krn_cpu_feature>("KRN_CPU_"), Names<CpuFeatures>("").Where(entry => entry.Value != 0));

    private static List<(long Value, string Name)> Names<TEnum>(string prefix, params (string From, string To)[] changes)
        where TEnum : struct, Enum =>
        Enum.GetValues<TEnum>()
            .Select(value => (Value: Convert.ToInt64(value, null), Name: Plain(value.ToString(), prefix, changes)))
            .OrderBy(entry => entry.Value)
            .ToList();

    private static string Plain(string name, string prefix, (string From, string To)[] changes)
    {
        foreach ((string from, string to) in changes)
            name = name.Replace(from, to, StringComparison.Ordinal);
        if (name.StartsWith(prefix, StringComparison.Ordinal))
            name = name[prefix.Length..];
        return name.Replace("_", string.Empty, StringComparison.Ordinal).ToUpperInvariant();
    }
}
