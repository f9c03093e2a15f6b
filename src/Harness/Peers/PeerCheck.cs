using Kernels.Harness.Accuracy;
using Kernels.Harness.Cases;

namespace Kernels.Harness.Peers;

/// <summary>What a check of a peer's result says.</summary>
/// <param name="RelativeError">Frobenius norm of the error over that of the result in float64, on the operands that the call was given.</param>
/// <param name="Allowed">The largest relative error that what the call rounds and quantizes explains.</param>
internal sealed record PeerVerdict(double RelativeError, double Allowed)
{
    /// <summary>Whether the result is right.</summary>
    public bool IsRight => RelativeError <= Allowed;

    /// <summary>The error as JSON can hold it, which has neither infinity nor NaN.</summary>
    public double FiniteError => double.IsFinite(RelativeError) ? RelativeError : double.MaxValue;
}

/// <summary>Holds a peer's result against float64. A peer that computes something else, because it was called wrongly or is broken, is
/// no peer.</summary>
internal static class PeerCheck
{
    // Rows of attention; each costs the oracle a pass over the sequence.
    private const int CheckedRows = 8;

    /// <summary>Checks a rotation on some blocks. The sums of f32 may be in any order: n roundings of half a unit against the sum of magnitudes.</summary>
    public static PeerVerdict Check(HadamardProblem problem, IPeerCall call)
    {
        int n = problem.N;
        var oracle = new HadamardOracle(n);
        double errors = 0, signals = 0, allowed = 0;
        foreach (long block in SampleGrid.Indices(problem.Blocks, 16))
        {
            double[] x = Array.ConvertAll(problem.Values[(int)(block * n)..(int)((block + 1) * n)], value => (double)value);
            double[] exact = oracle.Rotate(x);
            double bound = n * Math.ScaleB(1, -24) * x.Sum(Math.Abs) / Math.Sqrt(n);
            for (int i = 0; i < n; i++)
            {
                double error = call.Output(block, i) - exact[i];
                errors += error * error;
                signals += exact[i] * exact[i];
                allowed += bound * bound;
            }
        }

        return signals == 0 ? new PeerVerdict(errors == 0 ? 0 : double.PositiveInfinity, 0) : new PeerVerdict(Math.Sqrt(errors / signals), Math.Sqrt(allowed / signals));
    }

    /// <summary>Checks attention on some rows, on the keys and values that went into the cache. What f32 may be off follows from the roundings
    /// of a sum in any order (<see cref="AttentionOracle"/>).</summary>
    public static PeerVerdict Check(AttentionProblem problem, IPeerCall call)
    {
        AttentionSpec spec = problem.Spec;
        int heads = (int)spec.Heads, dim = (int)spec.HeadDim;
        var cache = new KvScheme(ElementType.F32, KvGranularity.Token, 0, ElementType.F32);
        double errors = 0, signals = 0, allowed = 0;
        foreach (long row in SampleGrid.Indices(spec.Batch * spec.Queries * heads, Math.Max(CheckedRows, spec.Batch)))
        {
            (int token, int head) = ((int)(row / heads), (int)(row % heads));
            (int sequence, int query) = (token / (int)spec.Queries, token % (int)spec.Queries);
            int length = (int)spec.LengthOf(sequence);
            var oracle = new AttentionOracle(
                cache, new AttentionWay(heads), (int)spec.KvHeads, dim, problem.Keys, problem.Values,
                problem.Tokens(problem.Keys, length), problem.Tokens(problem.Values, length));
            AttentionRow exact = oracle.Row(problem.Query.AsSpan((int)row * dim, dim), head, length - (int)spec.Queries + query);
            for (int c = 0; c < dim; c++)
            {
                double error = call.Output(token, (head * dim) + c) - exact.Values[c];
                errors += error * error;
                signals += exact.Values[c] * exact.Values[c];
                allowed += exact.Bounds[c] * exact.Bounds[c];
            }
        }

        return new PeerVerdict(Math.Sqrt(errors / signals), Math.Sqrt(allowed / signals));
    }

    /// <summary>Checks the last result of a call on a grid of outputs.</summary>
    /// <remarks>Rounding a value to a step moves it by at most half a step, and rounding it relatively by at most that share. Over the
    /// products of an output these errors are independent, so that their squares add up: the Frobenius norm over a grid of outputs stays
    /// below the root of the sum of all squares of such largest errors. To that comes the usual K * eps of summing in f32.</remarks>
    public static PeerVerdict Check(PeerProblem problem, IPeerCall call)
    {
        PeerTraits traits = call.Traits;
        long[] rows = SampleGrid.Indices(problem.M), columns = SampleGrid.Indices(problem.N);
        double[][] activations = [.. rows.Select(m => RowOf(problem, traits.Input, m))];
        double[][] halfSteps = HalfSteps(problem, traits, activations);
        var errors = new double[columns.Length];
        var signals = new double[columns.Length];
        var noises = new double[columns.Length];
        var outputs = new float[rows.Length, columns.Length];
        for (int i = 0; i < rows.Length; i++)
        {
            for (int j = 0; j < columns.Length; j++)
                outputs[i, j] = call.Output(rows[i], columns[j]);
        }

        Parallel.For(0, columns.Length, j =>
        {
            double[] weights = problem.Weights.Row(columns[j]);
            for (int i = 0; i < rows.Length; i++)
            {
                (double exact, double noise) = Product(activations[i], halfSteps[i], weights, traits.WeightRoundoff);
                double error = outputs[i, j] - exact;
                errors[j] += error * error;
                signals[j] += exact * exact;
                noises[j] += noise;
            }
        });
        double signal = signals.Sum(), summation = (problem.K + 8) * GemmOracle.UnitRoundoff;
        return signal == 0
            ? new PeerVerdict(Math.Sqrt(errors.Sum()), 0)
            : new PeerVerdict(Math.Sqrt(errors.Sum() / signal), summation + Math.Sqrt(noises.Sum() / signal));
    }

    private static (double Exact, double Noise) Product(double[] x, double[] halfSteps, double[] w, double roundoff)
    {
        double exact = 0, noise = 0;
        for (int k = 0; k < x.Length; k++)
        {
            double product = x[k] * w[k], rounded = product * roundoff, moved = halfSteps[k] * w[k];
            exact += product;
            noise += rounded * rounded + moved * moved;
        }

        return (exact, noise);
    }

    private static double[] RowOf(PeerProblem problem, PeerInput input, long m)
    {
        if (input == PeerInput.Floats)
            return [.. problem.Rows.Slice((int)m * problem.K, problem.K).ToArray().Select(x => (double)x)];
        if (!problem.Spec.Cell.IsInteger)
            return [.. problem.Activations.FloatRow(m).Select(x => (double)x)];
        IntegerRow row = problem.Activations.IntegerRow(m);
        return [.. row.Values.Select(value => value * (double)row.Scale)];
    }

    // Half the step to which the call quantizes each activation.
    private static double[][] HalfSteps(PeerProblem problem, PeerTraits traits, double[][] rows)
    {
        const int SignedCodes = 127, UnsignedCodes = 255;
        double ofTensor = 0;
        if (traits.Quantization == PeerQuantization.PerTensor)
        {
            float least = 0, most = 0;
            foreach (float x in problem.Rows)
                (least, most) = (Math.Min(least, x), Math.Max(most, x));
            ofTensor = ((double)most - least) / UnsignedCodes / 2;
        }

        return
        [
            .. rows.Select(row =>
            {
                var steps = new double[row.Length];
                steps.AsSpan().Fill(ofTensor);
                if (traits.Quantization == PeerQuantization.PerBlock)
                {
                    for (int begin = 0; begin < row.Length; begin += traits.BlockSize)
                    {
                        int length = Math.Min(traits.BlockSize, row.Length - begin);
                        double largest = row.AsSpan(begin, length).ToArray().Max(Math.Abs);
                        steps.AsSpan(begin, length).Fill(largest / SignedCodes / 2);
                    }
                }

                return steps;
            }),
        ];
    }
}
