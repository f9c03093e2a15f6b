using System.ComponentModel;
using System.Diagnostics;
using Kernels.Native;
using Kernels.Tests.Support;

namespace Kernels.Tests.Package;

/// <summary>Builds a library with the name of ours from a line of C.</summary>
internal static class ForeignLibrary
{
    /// <summary>Skips the test where there is no C compiler.</summary>
    public static void Build(string directory, string source)
    {
        string file = Path.Combine(directory, "foreign.c");
        File.WriteAllText(file, source + "\n");
        try
        {
            using Process compiler = Process.Start(
                "cc", ["-shared", "-fPIC", "-o", Path.Combine(directory, NativeLibraryResolver.FileName), file]);
            compiler.WaitForExit();
            if (compiler.ExitCode == 0)
                return;
        }
        catch (Win32Exception)
        {
            // There is no `cc`.
        }

        throw new SkipTestException("This test needs a C compiler that is called cc.");
    }
}
