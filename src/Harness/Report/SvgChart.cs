using System.Globalization;
using System.Text;
using System.Web;

namespace Kernels.Harness.Report;

/// <summary>A bar: a label, a value, and how the value is written.</summary>
internal sealed record Bar(string Label, double Value, string Text);

/// <summary>A point: the series that colours it, the column that it stands in, and where it lies. All points of a column have the same x.</summary>
internal sealed record Point(string Series, string Column, double X, double Y);

/// <summary>Plots as SVG, for a page that loads nothing.</summary>
internal static class SvgChart
{
    private const int Width = 860;
    private const int TextHeight = 18;
    private const int BarHeight = 18;
    private const int Gap = 4;
    private const int Ticks = 6;

    // Of a letter at 12 px in a wide sans-serif, as systems without fonts of their own have it: space that is never too small.
    private const double LetterWidth = 8;

    // Between the points of a column: of those that lie at the same height all are seen.
    private const double SeriesShift = 3;

    private const int PlotHeight = 280;
    private const int LeftMargin = 60;

    // Told apart with every kind of colour blindness (Okabe and Ito).
    private static readonly string[] s_colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

    /// <summary>Horizontal bars from 0, with a line at <paramref name="full"/> and the values in a column of their own.</summary>
    /// <param name="bars">The bars.</param>
    /// <param name="full">Where the line stands; the axis reaches it.</param>
    /// <param name="writeTick">How a value of the axis is written; null for a factor such as 2x.</param>
    public static string Bars(IReadOnlyList<Bar> bars, double full, Func<double, string>? writeTick = null)
    {
        double left = WidthOf(bars.Select(bar => bar.Label)) + 8, right = WidthOf(bars.Select(bar => bar.Text)) + 8;
        double plotWidth = Math.Max(Width - left - right, Width / 4.0);
        var axis = Axis.Around(0, Math.Max(full, bars.Select(bar => bar.Value).DefaultIfEmpty(0).Max()), Ticks);
        writeTick ??= tick => axis.Write(tick) + "x";
        int bottom = bars.Count * (BarHeight + Gap) + Gap;
        StringBuilder svg = Open(bottom + TextHeight);
        foreach (double tick in axis.Ticks())
        {
            Line(svg, "grid", X(tick), 0, X(tick), bottom);
            Text(svg, X(tick), bottom + TextHeight - 4, "middle", writeTick(tick));
        }

        for (int i = 0; i < bars.Count; i++)
        {
            double y = Gap + i * (BarHeight + Gap), baseline = y + BarHeight * 0.72;
            Text(svg, left - 8, baseline, "end", bars[i].Label);
            Text(svg, left + plotWidth + 8, baseline, "start", bars[i].Text);
            svg.Append(
                CultureInfo.InvariantCulture,
                $"<rect class=\"bar\" x=\"{left:0.#}\" y=\"{y:0.#}\" width=\"{Math.Max(0, X(bars[i].Value) - left):0.#}\" height=\"{BarHeight}\"/>\n");
        }

        Line(svg, "full", X(full), 0, X(full), bottom);
        return svg.Append("</svg>\n").ToString();

        double X(double value) => left + axis.Place(value) * plotWidth;
    }

    /// <summary>Points in columns that are named above the plot, coloured by series.</summary>
    public static string Scatter(IReadOnlyList<Point> points, string xTitle, string yTitle)
    {
        var xAxis = Axis.Around(points.Min(p => p.X), points.Max(p => p.X), Ticks);
        var yAxis = Axis.Around(0, points.Max(p => p.Y), Ticks);
        string[] series = [.. points.Select(p => p.Series).Distinct().Order(StringComparer.Ordinal)];
        double top = WidthOf(points.Select(p => p.Column)) + 3 * TextHeight, bottom = top + PlotHeight;
        double plotWidth = Width - LeftMargin - WidthOf(series) - 2 * TextHeight;
        StringBuilder svg = Open((int)(bottom + 2 * TextHeight + Gap));
        foreach (double tick in xAxis.Ticks())
        {
            Line(svg, "grid", X(tick), top, X(tick), bottom);
            Text(svg, X(tick), bottom + TextHeight - 2, "middle", xAxis.Write(tick));
        }

        foreach (double tick in yAxis.Ticks())
        {
            Line(svg, "grid", LeftMargin, Y(tick), LeftMargin + plotWidth, Y(tick));
            Text(svg, LeftMargin - 6, Y(tick) + 4, "end", yAxis.Write(tick));
        }

        Text(svg, LeftMargin + plotWidth / 2, bottom + 2 * TextHeight, "middle", xTitle);
        Text(svg, 0, TextHeight - 4, "start", yTitle);
        WriteColumns(svg, points, X, top, bottom);
        WritePoints(svg, points, series, X, Y);
        WriteLegend(svg, series, LeftMargin + plotWidth + TextHeight, top);
        return svg.Append("</svg>\n").ToString();

        double X(double value) => LeftMargin + xAxis.Place(value) * plotWidth;
        double Y(double value) => bottom - yAxis.Place(value) * PlotHeight;
    }

    /// <summary>Text as HTML and SVG show it.</summary>
    public static string Escape(string text) => HttpUtility.HtmlEncode(string.Concat(text.Where(c => !char.IsControl(c))));

    // The names stand upright, moved to the right where they would overlap, with a line down to their column.
    private static void WriteColumns(StringBuilder svg, IReadOnlyList<Point> points, Func<double, double> placeOf, double top, double bottom)
    {
        double free = double.NegativeInfinity;
        foreach ((string name, double x) in points.Select(p => (p.Column, placeOf(p.X))).Distinct().OrderBy(c => c.Item2).ThenBy(c => c.Column, StringComparer.Ordinal))
        {
            double at = Math.Max(x, free);
            free = at + TextHeight - Gap;
            Line(svg, "column", x, top, x, bottom);
            Line(svg, "column", at, top - TextHeight, x, top);
            svg.Append(
                CultureInfo.InvariantCulture,
                $"<text transform=\"translate({at + 4:0.#} {top - TextHeight - Gap:0.#}) rotate(-90)\">{Escape(name)}</text>\n");
        }
    }

    private static void WritePoints(
        StringBuilder svg, IReadOnlyList<Point> points, string[] series, Func<double, double> placeOfX, Func<double, double> placeOfY)
    {
        foreach (Point point in points)
        {
            double x = placeOfX(point.X) + (Array.IndexOf(series, point.Series) - (series.Length - 1) / 2.0) * SeriesShift;
            svg.Append(
                CultureInfo.InvariantCulture,
                $"<circle cx=\"{x:0.#}\" cy=\"{placeOfY(point.Y):0.#}\" r=\"4\" fill=\"{ColourOf(series, point.Series)}\" fill-opacity=\"0.8\">");
            svg.Append(CultureInfo.InvariantCulture, $"<title>{Escape($"{point.Column}-{point.Series}")}: {point.X:0.###}, {point.Y:0.#}</title></circle>\n");
        }
    }

    private static void WriteLegend(StringBuilder svg, string[] series, double left, double top)
    {
        for (int i = 0; i < series.Length; i++)
        {
            double y = top + (i + 0.5) * TextHeight;
            svg.Append(CultureInfo.InvariantCulture, $"<circle cx=\"{left:0.#}\" cy=\"{y:0.#}\" r=\"5\" fill=\"{ColourOf(series, series[i])}\"/>");
            Text(svg, left + 10, y + 4, "start", series[i]);
        }
    }

    private static string ColourOf(string[] series, string name) => s_colours[Array.IndexOf(series, name) % s_colours.Length];

    private static double WidthOf(IEnumerable<string> texts) => texts.Select(text => text.Length).DefaultIfEmpty(0).Max() * LetterWidth;

    private static void Line(StringBuilder svg, string style, double x1, double y1, double x2, double y2) => svg.Append(
        CultureInfo.InvariantCulture, $"<line class=\"{style}\" x1=\"{x1:0.#}\" y1=\"{y1:0.#}\" x2=\"{x2:0.#}\" y2=\"{y2:0.#}\"/>\n");

    private static void Text(StringBuilder svg, double x, double y, string anchor, string text) => svg.Append(
        CultureInfo.InvariantCulture, $"<text x=\"{x:0.#}\" y=\"{y:0.#}\" text-anchor=\"{anchor}\">{Escape(text)}</text>\n");

    private static StringBuilder Open(int height) =>
        new($"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {Width} {height}\" width=\"{Width}\" height=\"{height}\" role=\"img\">\n");
}
