#requires -Version 7.4
# Builds, tests and runs the project: the twin of build.sh for PowerShell, on any system. It installs nothing.
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
  test [--sanitizers]   build and run every test; with --sanitizers the native ones also under ASan + UBSan and TSan
  pack                  build the NuGet package, into build/packages, with the libraries of every system that this one can compile for
  bindings [--check]    regenerate the C# bindings from the headers, or only say whether they are fresh
  format [--check]      lay out C and C# sources, or only say whether they are
  clean                 remove everything that was built
  help                  print this text, and the verbs of the program `kernels`
  VERB [arguments]      build, then run that verb of `kernels`: bench, info, verify, ...
'@

# Build messages go to stderr: stdout belongs to the program that is run.
filter Out-StandardError { [Console]::Error.WriteLine($_) }

# The one option that some verbs take, or nothing.
function Test-Option([string] $Option) {
    $unknown = @($arguments | Where-Object { $_ -ne $Option })
    if ($unknown.Count -gt 0) { throw "$verb takes no argument but $Option" }
    $arguments.Count -gt 0
}

function Build-Native([string] $Preset) {
    Push-Location $PSScriptRoot
    try {
        cmake --preset $Preset | Out-StandardError
        cmake --build --preset $Preset | Out-StandardError
    }
    finally { Pop-Location }
}

function Build-CSharp([string] $Project) {
    $options = '-restore', '-p:Configuration=Release', '-p:SkipNativeBuild=true', '-verbosity:quiet', '-nologo'
    dotnet msbuild (Join-Path $PSScriptRoot $Project) @options | Out-StandardError
}

# The exit code of a command whose failure does not end the script.
function Get-ExitCode([scriptblock] $Command) {
    $PSNativeCommandUseErrorActionPreference = $false
    & $Command | Out-Host
    $LASTEXITCODE
}

function Invoke-Tests {
    $presets = @(if (Test-Option '--sanitizers') { 'asan-ubsan', 'tsan' }; 'release')
    Remove-Item $results -Recurse -Force -ErrorAction Ignore
    $null = New-Item $results -ItemType Directory
    foreach ($preset in $presets) { Build-Native $preset }
    Build-CSharp 'Kernels.sln'

    $suites = @()
    foreach ($preset in $presets) {
        Push-Location $PSScriptRoot
        $junit = Join-Path $results "native-$preset.xml"
        $code = Get-ExitCode {
            ctest --preset $preset --parallel ([Environment]::ProcessorCount) --output-junit $junit
        }
        Pop-Location
        $suites += "native-$preset=$code"
    }
    foreach ($project in Get-ChildItem (Join-Path $PSScriptRoot 'tests/*/*.csproj')) {
        $suite = $project.BaseName
        $options = '--no-build', '--results-directory', $results, '--logger', "trx;LogFileName=$suite.trx"
        $code = Get-ExitCode { dotnet test $project.FullName --configuration Release @options }
        $suites += "$suite=$code"
    }

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
        (Get-ChildItem (Join-Path $PSScriptRoot $_) -Recurse -Include '*.c', '*.h').FullName
    }
    $solution = Join-Path $PSScriptRoot 'Kernels.sln'
    $cOptions = @()
    $csharpOptions = @()
    if (Test-Option '--check') {
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
