namespace Kernels.Harness.Verbs;

/// <summary>What was asked for cannot be done: a wrong or contradicting option. The message is for the user.</summary>
internal sealed class UsageException(string message) : Exception(message);
