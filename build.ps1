#requires -Version 7.4
# Builds, tests and runs the project: the twin of build.sh for PowerShell, on any system. It installs nothing, and so has
# no `test --cuda`: kernels are compiled for devices where there is an nvcc, or where build.sh has laid one out.
# There is no param block, so that the arguments reach `kernels` as they were written.
$verb = if ($args.Count -gt 0) { $args[0] } else { '--help' }
$arguments = @($args | Select-Object -Skip 1)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$PSNativeCommandUseErrorActionPreference = $true
$env:DOTNET_CLI_TELEMETRY_OPTOUT = '1'
$env:DOTNET_NOLOGO = '1'
$results = Join-Path $PSScriptRoot 'build/test-results'
$usage = @'
usage: ./build.ps1 VERB [arguments]

  build                 build the native library and the C# projects
  test [--sanitizers] [--cross]
                        build and run every test; with --sanitizers the native ones also under ASan + UBSan and TSan,
                        with --cross also those built for 64-bit ARM (under qemu) and for Windows (under wine)
  pack                  build the NuGet package, into build/packages, with the libraries of every system that this one can compile for
  bindings [--check]    regenerate the C# bindings from the headers, or only say whether they are fresh
  format [--check]      lay out C and C# sources, or only say whether they are
  clean                 remove everything that was built
  help                  print this text, and the verbs of the program `kernels`
  VERB [arguments]      build, then run that verb of `kernels`: bench, info, verify, ...
'@

# Build messages go to stderr: stdout belongs to the program that is run.
filter Out-StandardError { [Console]::Error.WriteLine($_) }

# The options that were given, of those that the verb takes.
function Get-Option([string[]] $Known) {
    if (@($arguments | Where-Object { $_ -notin $Known }).Count -gt 0) {
        throw "$verb takes no argument but $($Known -join ' and ')"
    }
    $arguments
}

function Test-Tool([string] $Name) { $null -ne (Get-Command $Name -CommandType Application -ErrorAction Ignore) }

# The exit code of a command whose failure does not end the script.
function Get-ExitCode([scriptblock] $Command) {
    $PSNativeCommandUseErrorActionPreference = $false
    & $Command | Out-Host
    $LASTEXITCODE
}

# The thread sanitizer is Clang's where that is there with its library, as in build.sh.
function Use-Clang {
    if ($IsWindows -or $env:CC -or -not (Test-Tool 'clang')) { return }
    $program = 'int main(void) { return 0; }'
    if ((Get-ExitCode { $program | clang '-fsanitize=thread' -x c -o /dev/null /dev/stdin 2>&1 | Out-Null }) -eq 0) {
        $env:CC = 'clang'
        $env:CXX = 'clang++'
    }
}

# The compiler of a toolkit that build.sh has laid out, where there is none otherwise.
function Use-CudaToolkit {
    if ($env:KRN_NVCC -or $env:CUDA_HOME -or (Test-Tool 'nvcc')) { return }
    $cache = if ($env:XDG_CACHE_HOME) { $env:XDG_CACHE_HOME } else { Join-Path $HOME '.cache' }
    $nvcc = Join-Path $cache 'kernels/cuda-12.4/bin/nvcc'
    if (Test-Path $nvcc) { $env:KRN_NVCC = $nvcc }
}

function Build-Native([string] $Preset) {
    $compilers = $env:CC, $env:CXX
    Push-Location $PSScriptRoot
    try {
        if ($Preset -eq 'tsan') { Use-Clang }
        Use-CudaToolkit
        cmake --preset $Preset | Out-StandardError
        cmake --build --preset $Preset | Out-StandardError
    }
    finally {
        $env:CC, $env:CXX = $compilers
        Pop-Location
    }
}

function Build-CSharp([string] $Project) {
    $options = '-restore', '-p:Configuration=Release', '-p:SkipNativeBuild=true', '-verbosity:quiet', '-nologo'
    dotnet msbuild (Join-Path $PSScriptRoot $Project) @options | Out-StandardError
}

# A suite is told to the summary as NAME=EXITCODE, or NAME=skipped: REASON.
function Invoke-NativeSuite([string] $Preset) {
    $junit = Join-Path $results "native-$Preset.xml"
    Push-Location $PSScriptRoot
    try {
        $code = Get-ExitCode { ctest --preset $Preset --parallel ([Environment]::ProcessorCount) --output-junit $junit }
    }
    finally { Pop-Location }
    "native-$Preset=$code"
}

# Builds for another machine and tests that.
function Invoke-CrossSuite([string] $Preset, [string[]] $Tools) {
    $missing = @($Tools | Where-Object { -not (Test-Tool $_) })
    if ($missing.Count -gt 0) { return "native-$Preset=skipped: $($missing[0]) is missing" }
    Build-Native $Preset
    if ('wine' -in $Tools) {
        # A prefix of its own, made once: programs that start together would each try to make it.
        $env:WINEPREFIX = Join-Path $PSScriptRoot 'build/win-x64/wine'
        $env:WINEDEBUG = '-all'
        $null = Get-ExitCode { wineboot --init 2>&1 | Out-Null }
    }
    Invoke-NativeSuite $Preset
}

# A check that is written for bash.
function Invoke-BashSuite([string] $Name, [string] $Script, [string[]] $Options = @()) {
    if ($IsWindows -or -not (Test-Tool 'bash')) { return "$Name=skipped: it needs bash" }
    $path = Join-Path $PSScriptRoot $Script
    $code = Get-ExitCode { bash $path @Options }
    "$Name=$code"
}

function Invoke-CudaSuite {
    if (Test-Path (Join-Path $PSScriptRoot 'build/release/native/cuda/fatbins/*.fatbin')) {
        Invoke-BashSuite 'cuda-machine-code' 'scripts/sass-check.sh'
        Invoke-BashSuite 'cuda-gpu-status' 'scripts/gpu-status.sh' '--check'
    }
    else {
        'cuda-machine-code=skipped: there is no nvcc 12.0 or newer, so kernels were not compiled for CUDA devices'
    }
}

function Invoke-CSharpSuite([IO.FileInfo] $Project) {
    $suite = $Project.BaseName
    $options = '--no-build', '--results-directory', $results, '--logger', "trx;LogFileName=$suite.trx"
    $code = Get-ExitCode { dotnet test $Project.FullName --configuration Release @options }
    "$suite=$code"
}

function Invoke-Tests {
    $given = @(Get-Option '--sanitizers', '--cross')
    $presets = @(if ('--sanitizers' -in $given) { 'asan-ubsan', 'tsan' }; 'release')
    Remove-Item $results -Recurse -Force -ErrorAction Ignore
    $null = New-Item $results -ItemType Directory
    foreach ($preset in $presets) { Build-Native $preset }
    Build-CSharp 'Kernels.sln'

    $suites = @(
        foreach ($preset in $presets) { Invoke-NativeSuite $preset }
        if ('--cross' -in $given) {
            Invoke-CrossSuite 'linux-arm64' 'aarch64-linux-gnu-gcc', 'qemu-aarch64'
            Invoke-CrossSuite 'win-x64' 'x86_64-w64-mingw32-gcc', 'wine'
        }
        Invoke-CudaSuite
        Invoke-BashSuite 'same-bits' 'eng/same-bits.sh' '--junit', (Join-Path $results 'same-bits.xml')
        foreach ($project in Get-ChildItem (Join-Path $PSScriptRoot 'tests/*/*.csproj')) { Invoke-CSharpSuite $project }
    )

    $PSNativeCommandUseErrorActionPreference = $false
    dotnet (Join-Path $PSScriptRoot 'eng/TestSummary.cs') -- $results @suites
    exit $LASTEXITCODE
}

function Invoke-Bindgen {
    Build-CSharp 'src/Bindgen/Kernels.Bindgen.csproj'
    $program = Join-Path $PSScriptRoot 'src/Bindgen/bin/Release/net10.0/Kernels.Bindgen.dll'
    dotnet exec $program --root $PSScriptRoot @arguments
}

function Invoke-Format {
    $sources = 'native', 'tests/native' | ForEach-Object {
        (Get-ChildItem (Join-Path $PSScriptRoot $_) -Recurse -Include '*.c', '*.h', '*.cpp', '*.cu').FullName
    }
    $solution = Join-Path $PSScriptRoot 'Kernels.sln'
    $cOptions = @()
    $csharpOptions = @()
    if (@(Get-Option '--check').Count -gt 0) {
        $cOptions = '--dry-run', '--Werror'
        $csharpOptions = @('--verify-no-changes')
    }
    $status = Get-ExitCode { clang-format -i @cOptions $sources }
    $status += Get-ExitCode { dotnet format $solution @csharpOptions }
    if ($status -ne 0) { exit 1 }
}

function Invoke-Kernels {
    Build-Native 'release'
    Build-CSharp 'src/Harness/Kernels.Harness.csproj'
    $PSNativeCommandUseErrorActionPreference = $false
    dotnet exec (Join-Path $PSScriptRoot 'src/Harness/bin/Release/net10.0/kernels.dll') $verb @arguments
    exit $LASTEXITCODE
}

switch ($verb) {
    'build' { Build-Native 'release'; Build-CSharp 'Kernels.sln' }
    'test' { Invoke-Tests }
    'pack' { dotnet pack (Join-Path $PSScriptRoot 'src/Interop') --configuration Release --output (Join-Path $PSScriptRoot 'build/packages') }
    'bindings' { Invoke-Bindgen }
    'format' { Invoke-Format }
    'clean' {
        'build', 'src/*/bin', 'src/*/obj', 'tests/*/bin', 'tests/*/obj' |
            ForEach-Object { Get-Item (Join-Path $PSScriptRoot $_) -ErrorAction Ignore } |
            Remove-Item -Recurse -Force
    }
    { $_ -in '-h', '--help' } { $usage }
    'help' { $usage; Invoke-Kernels }
    default { Invoke-Kernels }
}
