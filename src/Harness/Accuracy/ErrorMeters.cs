using Kernels.Harness.Benchmarks;
using Kernels.Harness.Results;

namespace Kernels.Harness.Accuracy;

/// <summary>Adds up the error of a kernel against the oracle on the same quantized operands.</summary>
/// <param name="contract">"exact" or "bound".</param>
/// <param name="tracksBound">Whether the largest share of the bound is kept. Rounding to 16 bits takes all of a bound that allows for it,
/// whatever the kernel did before.</param>
internal sealed class KernelErrorMeter(string contract, bool tracksBound = true)
{
    private double _errorSquares;
    private double _signalSquares;
    private double? _maxOfBound;
    private long _checked;

    /// <summary>Outputs that differ from the prescribed bits, or exceed the bound.</summary>
    public long Mismatches { get; private set; }

    /// <summary>The first such output in words.</summary>
    public string? FirstMismatch { get; private set; }

    /// <summary>Adds an output whose bits are prescribed.</summary>
    /// <param name="actual">The output.</param>
    /// <param name="prescribed">The bits it must have.</param>
    /// <param name="exact">The result in float64.</param>
    /// <param name="bound">The bound on the error of the prescribed arithmetic, for information.</param>
    /// <param name="where">Which output it is; called for the first mismatch.</param>
    public void AddExact(float actual, float prescribed, double exact, double bound, Func<string> where)
    {
        Add(actual, exact, bound);
        // Bits, so that -0 and +0 differ; any NaN is as good as another.
        if (BitConverter.SingleToInt32Bits(actual) != BitConverter.SingleToInt32Bits(prescribed) && !(float.IsNaN(actual) && float.IsNaN(prescribed)))
            Mismatch(() => $"{where()} is {actual:R}, the contract says {prescribed:R}");
    }

    /// <summary>Adds an output whose error is bounded.</summary>
    public void AddBounded(float actual, double exact, double bound, Func<string> where)
    {
        Add(actual, exact, bound);
        if (!(Math.Abs(actual - exact) <= bound))
            Mismatch(() => $"{where()} is {actual:R}, the exact result is {exact:R}, which is farther than the bound of {bound:E3}");
    }

    /// <summary>The error so far.</summary>
    public KernelError Result(long outputsTotal) => new(
        contract, _checked, outputsTotal, Mismatches, _signalSquares > 0 ? Finite(Math.Sqrt(_errorSquares / _signalSquares)) : 0,
        _maxOfBound is { } share ? Finite(share) : null);

    private void Add(double actual, double exact, double bound)
    {
        _checked++;
        double error = actual - exact;
        _errorSquares += error * error;
        _signalSquares += exact * exact;
        if (bound > 0 && tracksBound)
            _maxOfBound = Math.Max(_maxOfBound ?? 0, Math.Abs(error) / bound);
    }

    private void Mismatch(Func<string> what)
    {
        Mismatches++;
        FirstMismatch ??= what();
    }

    // JSON has no infinity; a mismatch is reported beside it in any case.
    private static double Finite(double value) => double.IsFinite(value) ? value : double.MaxValue;
}

/// <summary>Adds up the error of quantization against the unquantized result.</summary>
internal sealed class QuantizationErrorMeter
{
    private readonly List<double> _absolute = [];
    private double _errorSquares;
    private double _signalSquares;
    private double _resultSquares;
    private double _product;

    /// <summary>Adds an output.</summary>
    /// <param name="quantized">The output with quantized operands.</param>
    /// <param name="exact">The unquantized result in float64.</param>
    public void Add(double quantized, double exact)
    {
        double error = quantized - exact;
        _absolute.Add(Math.Abs(error));
        _errorSquares += error * error;
        _signalSquares += exact * exact;
        _resultSquares += quantized * quantized;
        _product += quantized * exact;
    }

    /// <summary>The error so far; null when nothing was added.</summary>
    public QuantizationError? Result()
    {
        if (_absolute.Count == 0)
            return null;
        double? relative = _signalSquares > 0 ? Math.Sqrt(_errorSquares / _signalSquares) : null;
        double? sqnr = _signalSquares > 0 && _errorSquares > 0 ? 10 * Math.Log10(_signalSquares / _errorSquares) : null;
        double? cosine = _signalSquares > 0 && _resultSquares > 0 ? _product / Math.Sqrt(_signalSquares * _resultSquares) : null;
        return new QuantizationError(
            sqnr, relative, _errorSquares / _absolute.Count, cosine, _absolute.Max(), Statistics.Percentile([.. _absolute], 0.999));
    }
}
