#requires -Version 7.4
# Builds, tests and runs the project: the twin of build.sh for PowerShell, on any system. It installs nothing.
#   ./build.ps1 build | test [--sanitizers] | bindings [--check] | format [--check] | clean | VERB [arguments]
# where VERB is any verb of the program `kernels`: bench, info, verify, ...
# There is no param block, so that the arguments reach `kernels` as they were written.
$verb = if ($args.Count -gt 0) { $args[0] } else { 'help' }
$arguments = @($args | Select-Object -Skip 1)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$PSNativeCommandUseErrorActionPreference = $true
$env:DOTNET_CLI_TELEMETRY_OPTOUT = '1'
$env:DOTNET_NOLOGO = '1'
$results = Join-Path $PSScriptRoot 'build/test-results'

function Build-Native([string] $Preset) {
    Push-Location $PSScriptRoot
    try {
        cmake --preset $Preset
        cmake --build --preset $Preset
    }
    finally { Pop-Location }
}

function Build-CSharp([string] $Project) {
    $options = '-restore', '-p:Configuration=Release', '-p:SkipNativeBuild=true', '-verbosity:quiet', '-nologo'
    dotnet msbuild (Join-Path $PSScriptRoot $Project) @options
}

# The exit code of a test runner, whose failures are counted at the end instead of ending the script.
function Get-ExitCode([scriptblock] $Command) {
    $PSNativeCommandUseErrorActionPreference = $false
    & $Command | Out-Host
    $LASTEXITCODE
}

function Invoke-Tests {
    $presets = @(if ($arguments -contains '--sanitizers') { 'asan-ubsan', 'tsan' }; 'release')
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
        Get-ChildItem (Join-Path $PSScriptRoot $_) -Recurse -Include '*.c', '*.h'
    }
    $solution = Join-Path $PSScriptRoot 'Kernels.sln'
    if ($arguments -contains '--check') {
        clang-format --dry-run --Werror $sources
        dotnet format $solution --verify-no-changes
    }
    else {
        clang-format -i $sources
        dotnet format $solution
    }
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
    'bindings' { Invoke-Bindgen }
    'format' { Invoke-Format }
    'clean' {
        'build', 'src/*/bin', 'src/*/obj', 'tests/*/bin', 'tests/*/obj' |
            ForEach-Object { Get-Item (Join-Path $PSScriptRoot $_) -ErrorAction Ignore } |
            Remove-Item -Recurse -Force
    }
    default { Invoke-Kernels }
}
