namespace Kernels.Harness.Formats;

/// <summary>
/// A model file is not what it claims to be, or holds something that this program does not read. Whatever is wrong with
/// the content of a file ends here: the message names the file, the byte and the reason.
/// </summary>
public sealed class ModelFormatException : Exception
{
    /// <summary>Makes the exception.</summary>
    /// <param name="filePath">The file that is at fault.</param>
    /// <param name="offset">The byte of the file at which the fault shows.</param>
    /// <param name="reason">What is wrong, as a clause without a full stop.</param>
    /// <param name="innerException">The exception of a lower layer that told it, if there is one.</param>
    public ModelFormatException(string filePath, long offset, string reason, Exception? innerException = null)
        : base($"{filePath}: byte {offset}: {reason}.", innerException)
    {
        FilePath = filePath;
        Offset = offset;
        Reason = reason;
    }

    /// <summary>The file that is at fault.</summary>
    public string FilePath { get; }

    /// <summary>The byte of the file at which the fault shows.</summary>
    public long Offset { get; }

    /// <summary>What is wrong, as a clause without a full stop.</summary>
    public string Reason { get; }
}
