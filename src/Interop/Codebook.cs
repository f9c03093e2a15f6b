using Kernels.Native;

namespace Kernels;

/// <summary>A codebook of 16 floats, to which codes of <see cref="ElementType.C4"/> are indices. Immutable.</summary>
public sealed unsafe class Codebook
{
    /// <summary>The number of entries.</summary>
    public const int Size = 16;

    private readonly float[] _entries = GC.AllocateArray<float>(Size, pinned: true);

    /// <summary>Makes a codebook.</summary>
    /// <param name="entries">16 finite floats. To quantize with, they must ascend; to read weights with, any order will do.</param>
    /// <exception cref="ArgumentException">There are not 16, or one is not finite.</exception>
    public Codebook(ReadOnlySpan<float> entries)
    {
        if (entries.Length != Size)
            throw new ArgumentException($"A codebook has {Size} entries, not {entries.Length}.", nameof(entries));
        foreach (float entry in entries)
        {
            if (!float.IsFinite(entry))
                throw new ArgumentException("An entry of the codebook is not finite.", nameof(entries));
        }

        entries.CopyTo(_entries);
    }

    /// <summary>NF4 (QLoRA): quantiles of the normal distribution, scaled to -1..1, one of them 0.</summary>
    public static Codebook NF4 { get; } = new(new ReadOnlySpan<float>(NativeMethods.krn_nf4_codebook(), Size));

    /// <summary>The entries.</summary>
    public ReadOnlySpan<float> Entries => _entries;

    /// <summary>The entries, which do not move as long as the codebook is alive.</summary>
    internal float* Pointer => (float*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref _entries[0]);
}
