using System.ComponentModel;
using System.Diagnostics;
using System.Xml;
using System.Xml.Linq;

namespace Kernels.Bindgen.Read;

/// <summary>Runs castxml, the C compiler front end that describes declarations as XML.</summary>
internal static class CastXml
{
    private const string HowToInstall =
        "castxml is not installed: install it with `apt-get install castxml`, `dnf install castxml`, `brew install castxml` or "
        + "`pip install castxml`, and see that it is on the PATH.";

    /// <summary>Whether castxml can be started; if not, how to install it.</summary>
    public static bool IsInstalled(out string howToInstall)
    {
        howToInstall = HowToInstall;
        try
        {
            Start(["--version"]);
            return true;
        }
        catch (BindgenException)
        {
            return false;
        }
    }

    /// <summary>The declarations of the main header and all that it includes.</summary>
    public static XDocument Run(string root)
    {
        string output = Path.Combine(Path.GetTempPath(), $"kernels-bindgen-{Guid.NewGuid():N}.xml");
        try
        {
            Start([
                "--castxml-output=1", "-std=c11", "-I", Path.Combine(root, Repository.IncludeDirectory), "-o", output,
                Path.Combine(root, Repository.MainHeader),
            ]);
            return XDocument.Load(output, LoadOptions.None);
        }
        catch (Exception failure) when (failure is XmlException or IOException)
        {
            throw new BindgenException($"What castxml wrote cannot be read: {failure.Message}");
        }
        finally
        {
            File.Delete(output);
        }
    }

    private static void Start(IEnumerable<string> arguments)
    {
        var start = new ProcessStartInfo("castxml", arguments) { RedirectStandardError = true, RedirectStandardOutput = true };
        try
        {
            using Process process = Process.Start(start)!;
            Task<string> output = process.StandardOutput.ReadToEndAsync();
            string errors = process.StandardError.ReadToEnd();
            output.Wait();
            process.WaitForExit();
            if (process.ExitCode != 0)
                throw new BindgenException($"castxml failed with exit code {process.ExitCode}: {errors.Trim()}");
        }
        catch (Win32Exception)
        {
            throw new BindgenException(HowToInstall);
        }
    }
}
