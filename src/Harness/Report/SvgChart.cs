using System.Globalization;
using System.Text;
using System.Web;

namespace Kernels.Harness.Report;

/// <summary>A bar: a label, a value, and how the value is written.</summary>
internal sealed record Bar(string Label, double Value, string Text);

/// <summary>A point: a label, and where it lies.</summary>
internal sealed record Point(string Label, double X, double Y);

/// <summary>Plots as SVG, for a page that loads nothing.</summary>
internal static class SvgChart
{
    private const int Width = 860;
    private const int LabelWidth = 300;
    private const int ValueWidth = 80;
    private const int BarHeight = 18;
    private const int Gap = 4;

    private const int ScatterHeight = 360;
    private const int Margin = 50;
    private const int Ticks = 5;

    /// <summary>Horizontal bars from 0 to the largest value, or to <paramref name="full"/> if that is larger, which a line marks.</summary>
    public static string Bars(IReadOnlyList<Bar> bars, double full)
    {
        int height = bars.Count * (BarHeight + Gap) + Gap;
        int plotWidth = Width - LabelWidth - ValueWidth;
        double scale = plotWidth / Math.Max(Math.Max(full, bars.Count == 0 ? 0 : bars.Max(bar => bar.Value)), double.Epsilon);
        StringBuilder svg = Open(height);
        for (int i = 0; i < bars.Count; i++)
        {
            Bar bar = bars[i];
            double y = Gap + i * (BarHeight + Gap), length = Math.Max(0, bar.Value) * scale, baseline = y + BarHeight * 0.72;
            svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{LabelWidth - 8}\" y=\"{baseline:0.#}\" text-anchor=\"end\">{Escape(bar.Label)}</text>");
            svg.Append(CultureInfo.InvariantCulture, $"<rect class=\"bar\" x=\"{LabelWidth}\" y=\"{y:0.#}\" width=\"{length:0.#}\" height=\"{BarHeight}\"/>");
            svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{LabelWidth + length + 6:0.#}\" y=\"{baseline:0.#}\">{Escape(bar.Text)}</text>\n");
        }

        if (full > 0)
            svg.Append(CultureInfo.InvariantCulture, $"<line class=\"full\" x1=\"{LabelWidth + full * scale:0.#}\" y1=\"0\" x2=\"{LabelWidth + full * scale:0.#}\" y2=\"{height}\"/>");
        return svg.Append("</svg>\n").ToString();
    }

    /// <summary>Labelled points over two axes that begin at 0 or below.</summary>
    public static string Scatter(IReadOnlyList<Point> points, string xTitle, string yTitle)
    {
        StringBuilder svg = Open(ScatterHeight);
        (double xLow, double xHigh) = Range(points.Select(p => p.X));
        (double yLow, double yHigh) = Range(points.Select(p => p.Y));
        for (int i = 0; i <= Ticks; i++)
        {
            double xValue = xLow + i * (xHigh - xLow) / Ticks, yValue = yLow + i * (yHigh - yLow) / Ticks;
            double x = X(xValue), y = Y(yValue);
            svg.Append(CultureInfo.InvariantCulture, $"<line class=\"grid\" x1=\"{x:0.#}\" y1=\"{Y(yLow):0.#}\" x2=\"{x:0.#}\" y2=\"{Y(yHigh):0.#}\"/>");
            svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{x:0.#}\" y=\"{ScatterHeight - Margin + 16}\" text-anchor=\"middle\">{xValue:0.#}</text>");
            svg.Append(CultureInfo.InvariantCulture, $"<line class=\"grid\" x1=\"{X(xLow):0.#}\" y1=\"{y:0.#}\" x2=\"{X(xHigh):0.#}\" y2=\"{y:0.#}\"/>");
            svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{Margin - 6}\" y=\"{y + 4:0.#}\" text-anchor=\"end\">{yValue:0.#}</text>\n");
        }

        foreach (Point point in points)
        {
            svg.Append(CultureInfo.InvariantCulture, $"<circle class=\"bar\" cx=\"{X(point.X):0.#}\" cy=\"{Y(point.Y):0.#}\" r=\"4\"/>");
            svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{X(point.X) + 7:0.#}\" y=\"{Y(point.Y) + 4:0.#}\">{Escape(point.Label)}</text>\n");
        }

        svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{Width / 2}\" y=\"{ScatterHeight - 10}\" text-anchor=\"middle\">{Escape(xTitle)}</text>");
        svg.Append(CultureInfo.InvariantCulture, $"<text x=\"8\" y=\"14\">{Escape(yTitle)}</text>");
        return svg.Append("</svg>\n").ToString();

        double X(double value) => Margin + (value - xLow) / (xHigh - xLow) * (Width - 3 * Margin);
        double Y(double value) => ScatterHeight - Margin - (value - yLow) / (yHigh - yLow) * (ScatterHeight - 2 * Margin);
    }

    /// <summary>Text as HTML and SVG show it.</summary>
    public static string Escape(string text) => HttpUtility.HtmlEncode(string.Concat(text.Where(c => !char.IsControl(c))));

    private static StringBuilder Open(int height) =>
        new($"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {Width} {height}\" width=\"{Width}\" height=\"{height}\" role=\"img\">\n");

    private static (double Low, double High) Range(IEnumerable<double> values)
    {
        double low = 0, high = 0;
        foreach (double value in values)
        {
            low = Math.Min(low, value);
            high = Math.Max(high, value);
        }

        return high > low ? (low, high) : (low, low + 1);
    }
}
