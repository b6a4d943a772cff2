#pragma once
#include <cstdint>

namespace diffract::tensor {

/// Makes libtorch take the CPU's large tensors from blocks that are kept and used again, on huge pages. glibc
/// gives memory of this size back to the kernel at every free, and faulting it in anew takes a tenth of a
/// denoising step. Call it before threads run that use tensors; further calls do nothing.
/// DIFFRACT_HOST_CACHE_MB sets how much may be kept while it is not used (default 1024); 0 leaves libtorch's
/// own allocator in place.
void keep_host_memory();

/// From now on at most so much is kept while it is not used, and never more than was set: what is kept counts
/// where memory is limited.
void keep_at_most(uint64_t bytes);

/// Gives all blocks that are kept, but not used, back to the kernel.
void release_host_memory();

/// Bytes that are kept but not used.
uint64_t kept_host_bytes();

}  // namespace diffract::tensor
