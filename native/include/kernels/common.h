/* Types, status codes and conventions shared by every header of the library.
 *
 * Conventions of the whole C ABI
 *   - Sizes, strides and byte counts are int64_t. Leading dimensions (`ld`) count elements unless the name
 *     ends in `_bytes`.
 *   - The caller owns tensors. A tensor needs the alignment of its element, nothing more, and is never read
 *     or written past its last element.
 *   - A function that can fail returns krn_status. On failure nothing was written, and krn_last_error() says,
 *     in one sentence, which argument was wrong and why. (One exception: the steps of fused.h read their input
 *     once, and have written what that header says when they come upon a row that is not finite.)
 *   - Option structs begin with `uint32_t struct_size`, set by the caller to sizeof the struct. They grow only
 *     at the end; fields that a caller's struct_size does not cover take their documented default.
 *   - A call never throws, aborts, exits, prints or reads the environment.
 */
#ifndef KERNELS_COMMON_H
#define KERNELS_COMMON_H

#include <stdint.h>

/* How a public function is declared. Who links the library statically defines KRN_STATIC. */
#if defined(KRN_STATIC)
#define KRN_API
#elif defined(_WIN32)
#if defined(KRN_BUILDING_LIBRARY)
#define KRN_API __declspec(dllexport)
#else
#define KRN_API __declspec(dllimport)
#endif
#else
#define KRN_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** Version of the binary interface. It changes when a caller built against an older header would break. */
#define KRN_ABI_VERSION 2

/** Outcome of a call. The numbers are pinned: a code is never renumbered or reused. */
typedef int32_t krn_status;

/** Values of krn_status. 1-9 argument, 10-19 shape and layout, 20-29 capability, 30-39 memory and threads,
 *  40-49 device, 90-99 internal. */
enum krn_status_code {
    /** The call succeeded. */
    KRN_OK = 0,
    /** A pointer that must not be NULL was NULL. */
    KRN_ERROR_NULL_ARGUMENT = 1,
    /** An argument lies outside its documented range. */
    KRN_ERROR_INVALID_ARGUMENT = 2,
    /** An option struct carries a struct_size that this library does not know. */
    KRN_ERROR_STRUCT_SIZE = 3,
    /** A tensor holds NaN or infinity where finite values are required. */
    KRN_ERROR_NON_FINITE = 4,
    /** A dimension is negative, or dimensions do not fit each other. */
    KRN_ERROR_SHAPE = 10,
    /** A leading dimension is smaller than the width of its tensor. */
    KRN_ERROR_LEADING_DIMENSION = 11,
    /** A buffer holds fewer bytes than the call needs. */
    KRN_ERROR_BUFFER_TOO_SMALL = 12,
    /** A workspace is not aligned to 64 bytes, or a tensor not to its element. */
    KRN_ERROR_ALIGNMENT = 13,
    /** A serialized blob is not one of ours, or not one that this library can read. */
    KRN_ERROR_BLOB_FORMAT = 14,
    /** A serialized blob is damaged: its checksum does not match. */
    KRN_ERROR_BLOB_CHECKSUM = 15,
    /** The combination of formats has no kernel in this context. */
    KRN_ERROR_UNSUPPORTED = 20,
    /** The requested instruction set is not available on this machine. */
    KRN_ERROR_ISA_UNAVAILABLE = 21,
    /** Memory could not be allocated. */
    KRN_ERROR_OUT_OF_MEMORY = 30,
    /** A thread could not be started. */
    KRN_ERROR_THREAD = 31,
    /** The pool of a KV cache has too few free pages. */
    KRN_ERROR_OUT_OF_PAGES = 32,
    /** The CUDA driver is not installed, or is too old. */
    KRN_ERROR_DRIVER_UNAVAILABLE = 40,
    /** The CUDA driver has no device of that number. */
    KRN_ERROR_NO_DEVICE = 41,
    /** The CUDA driver reported an error; the sentence has its name. */
    KRN_ERROR_DEVICE = 42,
    /** A kernel on the emulator did what no device allows, or what a device would leave undefined. */
    KRN_ERROR_KERNEL_FAULT = 43,
    /** The library broke one of its own invariants. */
    KRN_ERROR_INTERNAL = 90,
};

/** Element types of tensors. The numbers are pinned. */
enum krn_type {
    /** IEEE 754 binary32. */
    KRN_TYPE_F32 = 1,
    /** IEEE 754 binary16. */
    KRN_TYPE_F16 = 2,
    /** The upper half of a binary32 (8 bits of exponent, 7 of fraction). */
    KRN_TYPE_BF16 = 3,
    /** OCP FP8 E4M3: 4 bits of exponent with bias 7, 3 of fraction, largest 448, subnormals below 2^-6, NaN but no
     *  infinities. */
    KRN_TYPE_F8E4M3 = 4,
    /** Signed 8-bit integer. */
    KRN_TYPE_S8 = 10,
    /** Unsigned 8-bit integer. */
    KRN_TYPE_U8 = 11,
    /** Signed 4-bit integer, -8..7 in two's complement, two per byte: element 2i is the low nibble of byte i.
     *  A row starts on a byte; the last high nibble of a row of odd width is zero. */
    KRN_TYPE_S4 = 12,
    /** Unsigned 4-bit integer, 0..15, packed like KRN_TYPE_S4. */
    KRN_TYPE_U4 = 13,
    /** Index 0..15 into a codebook of 16 floats, packed like KRN_TYPE_U4. NF4 is one such codebook (quantize.h). */
    KRN_TYPE_C4 = 14,
};

/** Name of a status, such as "KRN_ERROR_SHAPE"; "KRN_UNKNOWN_STATUS" for a number that is not one. Never NULL. */
KRN_API const char *krn_status_name(krn_status status);

/** The sentence that describes the last failure on the calling thread; empty if none happened. The pointer
 *  stays valid until the next failing call on the same thread. Never NULL. */
KRN_API const char *krn_last_error(void);

/** Records the sentence that krn_last_error() returns on the calling thread, cut after 511 bytes; NULL empties it. For
 *  libraries built over this one. */
KRN_API void krn_set_last_error(const char *sentence);

/** KRN_ABI_VERSION of the library that was loaded. */
KRN_API uint32_t krn_abi_version(void);

/** Version of the library, "major.minor.patch". Never NULL. */
KRN_API const char *krn_version_string(void);

/** Compiler, build type and target of the library, one line. Never NULL. */
KRN_API const char *krn_build_info(void);

#ifdef __cplusplus
}
#endif

#endif
