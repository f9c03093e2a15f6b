using Kernels.Bindgen.Read;
using Xunit;

namespace Kernels.Tests.Support;

/// <summary>A test that needs castxml, skipped where it is not installed.</summary>
internal sealed class CastXmlFactAttribute : FactAttribute
{
    public CastXmlFactAttribute()
    {
        if (!CastXml.IsInstalled(out string howToInstall))
            Skip = howToInstall;
    }
}
