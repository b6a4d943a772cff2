// What compute capability 9.0a has of its own, by the names of the PTX manual: the engine that copies boxes
// of a tensor into shared memory, the barriers that it counts its bytes on, and products by four warps at
// once.
#pragma once
#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace diffract::kernels::cuda::hopper {

__device__ inline uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// mbarrier: a phase ends when all arrivals and all expected bytes are there.
__device__ inline void barrier_init(uint32_t barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals));
}
__device__ inline void barriers_are_there() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ inline void barrier_expect(uint32_t barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}
__device__ inline void barrier_arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
/// Waits for the end of the phase of this parity; of a new barrier, the phase before the first has parity 1.
__device__ __forceinline__ void barrier_wait(uint32_t barrier, uint32_t parity) {
  asm volatile(
      "{\n.reg .pred done;\nagain:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra over;\nbra again;\nover:\n}\n" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

/// A box of a 4-dimensional tensor to shared memory; its bytes count on `barrier`.
__device__ inline void load_box(uint32_t to, const CUtensorMap* map, uint32_t barrier, int x, int y, int z,
                                int w) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(to),
      "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z), "r"(w)
      : "memory");
}

// Barriers by number among some warps: sync waits, arrive does not.
__device__ inline void named_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ inline void named_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/// More, or fewer, registers for the threads of this warpgroup.
template <int Registers>
__device__ inline void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Registers));
}
template <int Registers>
__device__ inline void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Registers));
}

// wgmma: begun after the registers that it reads or adds to were written, committed as a group, and waited
// for until at most Pending groups are left.
__device__ inline void products_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void products_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int Pending>
__device__ inline void products_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
}
/// The compiler does not know that products write these later than their instruction: nothing that reads or
/// writes the registers moves past this.
template <int N>
__device__ inline void pin(float (&x)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) asm volatile("" : "+f"(x[i])::"memory");
}
template <int N>
__device__ inline void pin(uint32_t (&x)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) asm volatile("" : "+r"(x[i])::"memory");
}

/// A copy made here and not where the compiler would like to: not between products, which it would make them
/// wait for each other.
template <int N>
__device__ inline void copy_here(const uint32_t (&from)[N], uint32_t (&to)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) asm volatile("mov.b32 %0, %1;" : "=r"(to[i]) : "r"(from[i]) : "memory");
}

/// How a tile lies in shared memory, for wgmma: rows of 128 bytes, swizzled as load_box leaves them
/// (SWIZZLE_128B). `stride`: bytes between groups of eight rows; `leading`: between blocks of 64 columns,
/// where columns and not rows are what a product adds over nothing of.
__device__ inline uint64_t descriptor(uint32_t address, uint32_t leading, uint32_t stride) {
  return uint64_t{(address & 0x3ffff) >> 4} | uint64_t{leading >> 4} << 16 | uint64_t{stride >> 4} << 32 |
         uint64_t{1} << 62;
}
/// The descriptor of what lies `bytes` further.
__device__ inline uint64_t moved(uint64_t descriptor, int bytes) {
  return descriptor + static_cast<uint64_t>(bytes >> 4);
}

// The registers of a result, as operands and as their numbers.
#define DIFFRACT_8(x, i)                                                                      \
  "+f"(x[i]), "+f"(x[i + 1]), "+f"(x[i + 2]), "+f"(x[i + 3]), "+f"(x[i + 4]), "+f"(x[i + 5]), \
      "+f"(x[i + 6]), "+f"(x[i + 7])
#define DIFFRACT_64(x)                                                                         \
  DIFFRACT_8(x, 0), DIFFRACT_8(x, 8), DIFFRACT_8(x, 16), DIFFRACT_8(x, 24), DIFFRACT_8(x, 32), \
      DIFFRACT_8(x, 40), DIFFRACT_8(x, 48), DIFFRACT_8(x, 56)
#define DIFFRACT_NUMBERS_64                                                                    \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, " \
  "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, " \
  "%38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, " \
  "%56, %57, %58, %59, %60, %61, %62, %63"

// sum [64 x 144] = (add ? sum : 0) + a [64 x 16] b [144 x 16]^T, both in shared memory.
#define DIFFRACT_PRODUCT_144(T, name)                                                         \
  __device__ inline void product(float(&sum)[72], uint64_t a, uint64_t b, bool add, T) {      \
    asm volatile(                                                                             \
        "{\n.reg .pred p;\nsetp.ne.b32 p, %74, 0;\n"                                          \
        "wgmma.mma_async.sync.aligned.m64n144k16.f32." name "." name " {" DIFFRACT_NUMBERS_64 \
        ", %64, %65, %66, %67, %68, %69, %70, %71}, %72, %73, p, 1, 1, 0, 0;\n}\n"            \
        : DIFFRACT_64(sum), DIFFRACT_8(sum, 64)                                               \
        : "l"(a), "l"(b), "r"(int{add}));                                                     \
  }
// sum [64 x 128] += a [64 x 16] b [16 x 128], a in registers, b in shared memory.
#define DIFFRACT_PRODUCT_128(T, name)                                                                  \
  __device__ inline void product(float(&sum)[64], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,  \
                                 uint64_t b, T) {                                                      \
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32." name "." name " {" DIFFRACT_NUMBERS_64 \
                 "}, {%64, %65, %66, %67}, %68, 1, 1, 1, 1;\n"                                         \
                 : DIFFRACT_64(sum)                                                                    \
                 : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "l"(b));                                        \
  }
DIFFRACT_PRODUCT_144(__nv_bfloat16, "bf16")
DIFFRACT_PRODUCT_144(__half, "f16")
DIFFRACT_PRODUCT_128(__nv_bfloat16, "bf16")
DIFFRACT_PRODUCT_128(__half, "f16")
#undef DIFFRACT_8
#undef DIFFRACT_64
#undef DIFFRACT_NUMBERS_64
#undef DIFFRACT_PRODUCT_144
#undef DIFFRACT_PRODUCT_128

}  // namespace diffract::kernels::cuda::hopper
