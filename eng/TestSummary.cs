#:property PublishAot=false
#:property ManagePackageVersionsCentrally=false

// Adds up the results of all test suites: dotnet eng/TestSummary.cs FOLDER [SUITE=EXITCODE...]
//
// FOLDER holds one result file per suite: JUnit from ctest (SUITE.xml) or TRX from dotnet test (SUITE.trx).
// SUITE=EXITCODE tells how the suite's runner ended: one that failed without reporting a failed test counts as a
// failure itself, so that a crash is never mistaken for a pass; "skipped: REASON" instead of a number tells that the
// suite could not run. Failed and skipped tests are listed by name; the last line is
// `N passed, N failed, N skipped`. The exit code is 0 only if nothing failed and something passed.

using System.Xml.Linq;

if (args.Length == 0)
{
    Console.Error.WriteLine("usage: dotnet eng/TestSummary.cs FOLDER [SUITE=EXITCODE...]");
    return 2;
}

var results = new List<Result>();
foreach (string file in Directory.EnumerateFiles(args[0]).Order(StringComparer.Ordinal))
{
    string suite = Path.GetFileNameWithoutExtension(file);
    results.AddRange(Path.GetExtension(file) switch
    {
        ".xml" => ReadJUnit(suite, XDocument.Load(file)),
        ".trx" => ReadTrx(suite, XDocument.Load(file)),
        _ => [],
    });
}

foreach (string argument in args.Skip(1))
{
    (string suite, string exitCode) = argument.Split('=', 2) is [var name, var code] ? (name, code) : (argument, "?");
    if (exitCode.StartsWith("skipped: ", StringComparison.Ordinal))
    {
        results.Add(new(suite, "(all tests)", Outcome.Skipped, exitCode["skipped: ".Length..]));
        continue;
    }

    bool explained = results.Any(result => result.Suite == suite && result.Outcome == Outcome.Failed);
    if (exitCode != "0" && !explained)
        results.Add(new(suite, "(test runner)", Outcome.Failed, $"ended with exit code {exitCode}"));
}

IEnumerable<Result> notable = results.Where(result => result.Outcome != Outcome.Passed);
foreach (Result result in notable.OrderBy(result => (result.Outcome, result.Suite, result.Name)))
{
    string outcome = result.Outcome == Outcome.Failed ? "failed" : "skipped";
    Console.WriteLine($"{outcome}: {result.Suite}: {result.Name}: {result.Reason ?? "no reason given"}");
}

int passed = results.Count(result => result.Outcome == Outcome.Passed);
int failed = results.Count(result => result.Outcome == Outcome.Failed);
int skipped = results.Count(result => result.Outcome == Outcome.Skipped);
if (passed + failed == 0)
    Console.WriteLine("failed: no test ran");
Console.WriteLine($"{passed} passed, {failed} failed, {skipped} skipped");
return failed == 0 && passed > 0 ? 0 : 1;

// ctest marks a test as "run", "fail", "disabled" or "notrun": skipped by its own word (SKIP_...), or never started.
static IEnumerable<Result> ReadJUnit(string suite, XDocument document) =>
    from test in document.Descendants("testcase")
    let message = (string?)(test.Element("skipped") ?? test.Element("failure"))?.Attribute("message") ?? ""
    let outcome = (string?)test.Attribute("status") switch
    {
        "run" => Outcome.Passed,
        "disabled" => Outcome.Skipped,
        "notrun" when message.StartsWith("SKIP_", StringComparison.Ordinal) => Outcome.Skipped,
        _ => Outcome.Failed,
    }
    let reason = Lines(message).Concat(Lines((string?)test.Element("system-out"))).LastOrDefault()
    select new Result(suite, (string?)test.Attribute("name") ?? "?", outcome, reason);

static IEnumerable<Result> ReadTrx(string suite, XDocument document)
{
    XNamespace ns = document.Root!.Name.Namespace;
    return
        from test in document.Descendants(ns + "UnitTestResult")
        let outcome = (string?)test.Attribute("outcome") switch
        {
            "Passed" => Outcome.Passed,
            "NotExecuted" => Outcome.Skipped,
            _ => Outcome.Failed,
        }
        let message = test.Descendants(ns + "Message").Concat(test.Descendants(ns + "StdOut")).FirstOrDefault()
        let reason = Lines((string?)message).FirstOrDefault()
        select new Result(suite, (string?)test.Attribute("testName") ?? "?", outcome, reason);
}

// Lines that say something: neither empty nor the frame that sanitizers draw.
static IEnumerable<string> Lines(string? text) =>
    (text ?? "").Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)
        .Where(line => !line.StartsWith("==", StringComparison.Ordinal));

internal enum Outcome { Failed, Skipped, Passed }

internal sealed record Result(string Suite, string Name, Outcome Outcome, string? Reason);
