using System.Diagnostics;
using Kernels.Harness.Devices;
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
        Assert.Contains(saved.Cases, c => c.Id == "attention/decode-kv8/h4-g2-d32-c75-q1/emulator/sm90a/softcap" && c.Isa == "sm90a");
        Assert.All(saved.Cases, c => Assert.Null(c.Failure));
        Assert.Equal(
            ["memory", "quantize", "dequantize", "hadamard", "fused", "kv_append", "attention", "gemm"], saved.Cases.Select(c => c.Op).Distinct());
        Assert.Equal("bound", saved.Cases.First(c => c.Scheme == "nf4b64-f16").KernelError!.Contract);

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
        const string Filter = "{memory/*/mb32,gemm/w4g128-bf16/m1-n4096-k4096,gemm/w4g128-bf16/m16-n4096-k4096}/*";
        (int code, string output) = RunOnFakeDriver("bench", "--device", "cuda", "--filter", Filter, "--json", json);
        Assert.True(code == 0, output);
        RunResult saved = ResultsJson.Load(json);
        CaseResult[] loops = [.. saved.Cases.Where(c => c.Op == "memory")], products = [.. saved.Cases.Where(c => c.Op == "gemm")];
        Assert.Equal(["memory/read/mb32/fake0/sm90a", "memory/copy/mb32/fake0/sm90a", "memory/triad/mb32/fake0/sm90a"], loops.Select(c => c.Id));
        // A launch takes 0.25 ms on the fake driver, and is two calls on rotated operands.
        Assert.All(saved.Cases, c => Assert.Equal(0.125e6, c.TimeNs!.Median, 3));
        Assert.All(saved.Cases, c => Assert.Equal("device_triad", c.Ceiling!.Name));
        Assert.All(saved.Cases, c => Assert.Equal(new DeviceLoad(1980, 2619, 345.6), c.DeviceLoad));
        Assert.Equal(
            ["device_read", "device_copy", "device_triad", "cublaslt_bf16", "cublaslt_int8"], saved.Ceilings.Select(ceiling => ceiling.Name));
        Assert.Equal(2 * Math.Pow(8192, 3) / 0.125e6, saved.Ceilings[^1].Value, 3);

        // Products have peers, whose first and last outputs are computed: so operands lie as the library takes them.
        Assert.Equal(["cuBLASLt bf16", "cuBLASLt f16"], products[0].Peers.Select(peer => peer.Name));
        Assert.Equal(["cuBLASLt bf16", "cuBLASLt f16", "cuBLASLt int8"], products[1].Peers.Select(peer => peer.Name));
        Assert.All(products.SelectMany(c => c.Peers), peer => Assert.Equal(("12.4.5", 1.0, null), (peer.Version, peer.Speedup, peer.Failure)));
        Assert.Contains("cuBLASLt int8 12.4.5", output, StringComparison.Ordinal);

        (code, output) = RunOnFakeDriver("info", "--device", "cuda:0");
        Assert.True(code == 0, output);
        Assert.Contains("Fake 0, compute capability 9.0", output, StringComparison.Ordinal);

        // A device that computes nothing is found out.
        (code, output) = RunOnFakeDriver("verify", "--device", "cuda");
        Assert.True(code == 1, output);
        (code, output) = RunOnFakeDriver("info", "--device", "cuda:1");
        Assert.True(code == 2, output);
    }

    [Fact]
    public void WhatIsFoundAtRunTimeMayBeAbsent()
    {
        string other = OperatingSystem.IsWindows() ? "kernel32.dll" : OperatingSystem.IsMacOS() ? "libSystem.dylib" : "libc.so.6";
        Assert.Null(Nvml.Open("there-is-no-such-library", "0000:1B:00.0"));
        Assert.Null(Nvml.Open(other, "0000:1B:00.0"));
        Assert.Null(Nvml.Open(Nvml.File, null));
        Assert.Null(CublasLt.Open(null!, ["there-is-no-such-library"], out string? reason));
        Assert.Contains("not found", reason, StringComparison.Ordinal);
        Assert.Null(CublasLt.Open(null!, ["there-is-no-such-library", other], out reason));
        Assert.Contains("has no function cublasLt", reason, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(120405, "12.4.5")]
    [InlineData(130002, "13.0.2")]
    public void VersionsAreRead(long number, string version) => Assert.Equal(version, CublasLt.VersionIn(number));

    [Fact]
    public void CasesHaveNamesOfTheirOwn()
    {
        Assert.Distinct(CudaOp.All.SelectMany(op => op.Cases()).Select(spec => spec.Id));
        Assert.Distinct(CudaOp.All.SelectMany(op => op.Checks()).Select(check => $"{check.Id}/{check.Feature}"));
        Assert.All(CudaOp.All.SelectMany(op => op.Cases()), spec => Assert.True(spec.Bytes > 0, spec.Id));
        Assert.Contains(CudaOp.All.SelectMany(op => op.Cases()), spec => spec.Id == "attention/decode-kv8/h32-g8-d128-b32-c4096-q1");
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
