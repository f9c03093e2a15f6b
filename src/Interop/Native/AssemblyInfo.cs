using System.Runtime.CompilerServices;

// Every signature is blittable, so calls need no marshalling stub.
[assembly: DisableRuntimeMarshalling]
