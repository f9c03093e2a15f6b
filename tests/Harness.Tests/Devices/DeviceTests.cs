using System.Diagnostics;
using Kernels.Harness.Results;
using Kernels.Harness.Tests.Results;
using Kernels.Harness.Tests.Verbs;

namespace Kernels.Harness.Tests.Devices;

/// <summary>The verbs with --device: on the emulator, on a driver that records calls, and where there is neither.</summary>
public sealed class DeviceTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("'gpu' is not a device", "info", "--device", "gpu")]
    [InlineData("'cuda:x' is not a device", "verify", "--device", "cuda:x")]
    [InlineData("'cuda:-1' is not a device", "bench", "--device", "cuda:-1")]
    public void WhatIsNoDeviceIsRefused(string reason, params string[] arguments)
    {
        (int code, _, string error) = CommandLineTests.Run(arguments);
        Assert.Equal(2, code);
        Assert.Contains(reason, error, StringComparison.Ordinal);
    }

    [Fact]
    public void AMachineWithoutADeviceSaysWhy()
    {
        if (CudaDevice.UnavailableReason is not { } reason)
            return;
        foreach (string verb in new[] { "info", "verify", "bench" })
        {
            (int code, _, string error) = CommandLineTests.Run(verb, "--device", "cuda");
            Assert.Equal(2, code);
            Assert.Contains(reason, error, StringComparison.Ordinal);
        }
    }

    [EmulatorFact]
    public void EveryKernelIsRightOnTheEmulator()
    {
        string json = _folder.PathOf("errors.json");
        (int code, string output, string error) = CommandLineTests.Run("verify", "--device", "emulator", "--json", json);
        Assert.Equal((0, ""), (code, error));
        Assert.Contains(" checks passed, 0 failed on emulator", output, StringComparison.Ordinal);
        RunResult saved = ResultsJson.Load(json);
        Assert.Contains(saved.Cases, c => c.Id == "memory/copy/n1028/emulator/sm80");
        Assert.All(saved.Cases, c => Assert.Null(c.Failure));

        (code, output, _) = CommandLineTests.Run("verify", "--device", "emulator", "--isa", "sm80", "--filter", "memory/*", "--list");
        Assert.Equal(0, code);
        Assert.DoesNotContain("sm90a", output, StringComparison.Ordinal);
    }

    [EmulatorFact]
    public void TheEmulatorIsDescribedAndNotMeasured()
    {
        (int code, string output, _) = CommandLineTests.Run("info", "--device", "emulator");
        Assert.Equal(0, code);
        Assert.Contains("sm80", output, StringComparison.Ordinal);
        (code, _, string error) = CommandLineTests.Run("bench", "--device", "emulator");
        Assert.Equal(2, code);
        Assert.Contains("not measured", error, StringComparison.Ordinal);
        (code, _, error) = CommandLineTests.Run("verify", "--device", "emulator", "--isa", "avx2");
        Assert.Equal(2, code);
        Assert.Contains("'avx2' is not a class", error, StringComparison.Ordinal);
    }

    /// <summary>The whole way of bench from options to a results file, with events, graphs and flushes, on a driver that runs no kernel.</summary>
    [FakeDriverFact]
    public void BenchGoesThroughTheDriver()
    {
        string json = _folder.PathOf("cuda.json");
        (int code, string output) = RunOnFakeDriver("bench", "--device", "cuda", "--filter", "memory/*/mb32/*", "--json", json);
        Assert.True(code == 0, output);
        RunResult saved = ResultsJson.Load(json);
        Assert.Equal(["memory/read/mb32/fake0/sm90a", "memory/copy/mb32/fake0/sm90a", "memory/triad/mb32/fake0/sm90a"], saved.Cases.Select(c => c.Id));
        // A launch takes 0.25 ms on the fake driver, and is two calls on rotated operands.
        Assert.All(saved.Cases, c => Assert.Equal(0.125e6, c.TimeNs!.Median, 3));
        Assert.All(saved.Cases, c => Assert.Equal("device_triad", c.Ceiling!.Name));

        (code, output) = RunOnFakeDriver("info", "--device", "cuda:0");
        Assert.True(code == 0, output);
        Assert.Contains("Fake 0, compute capability 9.0", output, StringComparison.Ordinal);

        // A device that computes nothing is found out.
        (code, output) = RunOnFakeDriver("verify", "--device", "cuda");
        Assert.True(code == 1, output);
        (code, output) = RunOnFakeDriver("info", "--device", "cuda:1");
        Assert.True(code == 2, output);
    }

    private static (int Code, string Output) RunOnFakeDriver(params string[] arguments)
    {
        string Beside(string name) => Path.Combine(AppContext.BaseDirectory, name);
        var start = new ProcessStartInfo("dotnet")
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            ArgumentList =
            {
                "exec", "--depsfile", Beside("Harness.Tests.deps.json"), "--runtimeconfig", Beside("Harness.Tests.runtimeconfig.json"), Beside("kernels.dll"),
            },
        };
        foreach (string argument in arguments)
            start.ArgumentList.Add(argument);
        start.Environment["LD_LIBRARY_PATH"] = FakeDriverFactAttribute.Folder;
        start.Environment["FAKE_DRIVER_SHALLOW"] = "1";
        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output + errors.Result);
    }
}

/// <summary>A test that needs the emulator.</summary>
internal sealed class EmulatorFactAttribute : FactAttribute
{
    public EmulatorFactAttribute() => Skip = CudaDevice.Emulator is null ? "there is no library kernels_cuda_emulator." : null!;
}

/// <summary>A test that needs the driver that the native tests build, and a library with kernels for it.</summary>
internal sealed class FakeDriverFactAttribute : FactAttribute
{
    public FakeDriverFactAttribute() => Skip =
        !File.Exists(Path.Combine(Folder, "libcuda.so.1")) ? "the native tests have not been built here."
        : !File.ReadAllText(Images).Contains("nvcc", StringComparison.Ordinal) ? "this build has no kernels for devices: there was no nvcc."
        : null!;

    public static string Folder { get; } = Path.Combine(ResultsTests.RepositoryRoot(), "build", "release", "tests", "native", "cuda", "fake_driver");

    private static string Images => Path.Combine(ResultsTests.RepositoryRoot(), "build", "release", "native", "cuda", "images.c");
}
