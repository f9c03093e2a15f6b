using System.Globalization;
using Kernels.Harness.Benchmarks;
using Kernels.Harness.Cases;
using Kernels.Harness.Results;
using Spectre.Console;

namespace Kernels.Harness.Verbs;

/// <summary>What <c>bench --op hadamard</c> shows besides times: what rotation is for, and its share of the GEMM that follows.</summary>
internal static class RotationTables
{
    private const int Tokens = 512;
    private const int Size = 4096;

    // A width of a power of two, and one with a base.
    private static readonly int[] s_channels = [4096, 14336];

    /// <summary>Measures and writes both tables.</summary>
    /// <param name="terminal">Where to.</param>
    /// <param name="contexts">The contexts; the best level on one thread runs.</param>
    /// <param name="interleaver">What takes the times.</param>
    /// <param name="captured">Activations of models, besides the generated ones.</param>
    /// <param name="seed">Seed of synthetic data.</param>
    public static void Write(Terminal terminal, ContextPool contexts, Interleaver interleaver, IEnumerable<IActivationSource> captured, long seed)
    {
        KernelContext context = contexts.Get(ContextPool.Levels[0], 1);
        Table gains = RunTables.MakeTable("error of activations quantized per token");
        RunTables.AddColumn(gains, "activations", isNumber: false);
        foreach (string header in new[] { "type", "SQNR dB", "rotated", "gain" })
            RunTables.AddColumn(gains, header, isNumber: header != "type");
        foreach (IActivationSource source in s_channels.Select(channels => new SyntheticActivationSource(channels, seed)).Concat(captured))
        {
            foreach (RotationGain gain in RotationStudy.Gains(context, source))
            {
                gains.AddRow(
                    new Text(Printable.Of(gain.Source)), new Text(ElementNames.NameOf(gain.Type)), new Text(Figures.Decibels(gain.PlainDb)),
                    new Text(Figures.Decibels(gain.RotatedDb)),
                    new Text((gain.RotatedDb - gain.PlainDb).ToString("+0.0;-0.0", CultureInfo.InvariantCulture)));
            }
        }

        terminal.Out.Write(gains);
        terminal.Line();

        RotationCost cost = RotationStudy.Cost(context, interleaver, Tokens, Size, seed);
        Table times = RunTables.MakeTable($"rotation before a W4A4 GEMM, {cost.M} tokens, {cost.Size} channels, 1 thread");
        foreach (string header in new[] { "rotate", "quantize to s4", "GEMM", "rotate + quantize, of the GEMM" })
            RunTables.AddColumn(times, header, isNumber: true);
        times.AddRow(
            new Text(Figures.Time(cost.RotateNs)), new Text(Figures.Time(cost.QuantizeNs)), new Text(Figures.Time(cost.GemmNs)),
            new Text(Figures.Percent(cost.Share)));
        terminal.Out.Write(times);
        terminal.Line();
    }
}
