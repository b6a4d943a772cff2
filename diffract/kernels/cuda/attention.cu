#include "diffract/kernels/cuda/attention_kernel.cuh"

namespace diffract::kernels::cuda {
namespace {

using namespace hopper;

// The driver's function, found at run time: the library is not linked with the driver.
using Encode = decltype(&cuTensorMapEncodeTiled);
Encode encoder() {
  static const auto found = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult result{};
    const auto error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000,
                                                        cudaEnableDefault, &result);
    return reinterpret_cast<Encode>(error == cudaSuccess ? function : nullptr);
  }();
  return found;
}

// False where the copy engine cannot read it. Tokens past the end read as 0.
bool make_map(CUtensorMap& map, const AttentionLaunch& l, const AttentionLaunch::Heads<const void>& x,
              int64_t tokens, int box_tokens) {
  const auto bytes = [](int64_t size, int64_t stride) {  // a stride that is never walked may be anything
    return static_cast<cuuint64_t>(2 * (size == 1 ? kWidth : stride));
  };
  const cuuint64_t sizes[] = {kWidth, static_cast<cuuint64_t>(l.heads), static_cast<cuuint64_t>(tokens),
                              static_cast<cuuint64_t>(l.batch)};
  const cuuint64_t strides[] = {bytes(l.heads, x.head_stride), bytes(tokens, x.token_stride),
                                bytes(l.batch, x.batch_stride)};
  const cuuint32_t box[] = {kWidth / 2, 1, static_cast<cuuint32_t>(box_tokens), 1};
  const cuuint32_t each[] = {1, 1, 1, 1};
  const auto type =
      l.type == ElementType::float16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  return encoder()(&map, type, 4, const_cast<void*>(x.data), sizes, strides, box, each,
                   CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                   CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

int multiprocessors_of_hopper() {  // 0: another GPU
  int device = 0, major = 0, minor = 0, count = 0;
  const bool known =
      cudaGetDevice(&device) == cudaSuccess &&
      cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
      cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) == cudaSuccess &&
      cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device) == cudaSuccess;
  return known && major == 9 && minor == 0 ? count : 0;
}

template <typename T>
cudaError_t run(const CUtensorMap (&maps)[3], const Sizes& sizes, void* out, int blocks,
                cudaStream_t stream) {
  const auto allowed =
      cudaFuncSetAttribute(attention_kernel<T>, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes);
  if (allowed != cudaSuccess) return allowed;
  attention_kernel<T>
      <<<blocks, kThreads, kSharedBytes, stream>>>(maps[0], maps[1], maps[2], sizes, static_cast<T*>(out));
  return cudaGetLastError();
}

// A block walks all keys of its queries: with few blocks and many keys, kernels that divide the keys are
// faster. With many queries and few keys there is no product to be fast at.
bool is_worth_it(int64_t tiles, int64_t keys, int multiprocessors) {
  constexpr int64_t kManyKeys = 600, kFewKeys = 256;
  return tiles > multiprocessors ? keys >= kFewKeys : 4 * tiles >= multiprocessors || keys < kManyKeys;
}

}  // namespace

bool attention_on_hopper(const AttentionLaunch& l, cudaStream_t stream, cudaError_t& result) {
  const int multiprocessors = multiprocessors_of_hopper();
  const int64_t query_tiles = (l.queries + kQueries - 1) / kQueries;
  const int64_t tiles = query_tiles * l.heads * l.batch;
  constexpr int64_t kMost = int64_t{1} << 30;
  if (multiprocessors == 0 || !encoder() || l.type == ElementType::float32 || l.width != kWidth ||
      !(l.scale > 0) || l.queries <= 0 || l.keys <= 0 || tiles <= 0 || tiles > kMost || l.queries > kMost ||
      l.keys > kMost || !is_worth_it(tiles, l.keys, multiprocessors))
    return false;
  CUtensorMap maps[3];
  if (!make_map(maps[0], l, l.q, l.queries, kQueries) || !make_map(maps[1], l, l.k, l.keys, kKeys) ||
      !make_map(maps[2], l, l.v, l.keys, kKeys))
    return false;
  const Sizes sizes{.queries = static_cast<int>(l.queries),
                    .keys = static_cast<int>(l.keys),
                    .heads = static_cast<int>(l.heads),
                    .query_tiles = static_cast<int>(query_tiles),
                    .key_tiles = static_cast<int>((l.keys + kKeys - 1) / kKeys),
                    .tiles = static_cast<int>(tiles),
                    .out_batch_stride = l.out.batch_stride,
                    .out_head_stride = l.out.head_stride,
                    .out_token_stride = l.out.token_stride,
                    .scale = l.scale * 1.44269504088896341f};
  const int blocks = static_cast<int>(tiles < multiprocessors ? tiles : multiprocessors);
  result = l.type == ElementType::float16 ? run<__half>(maps, sizes, l.out.data, blocks, stream)
                                          : run<__nv_bfloat16>(maps, sizes, l.out.data, blocks, stream);
  return true;
}

}  // namespace diffract::kernels::cuda
