#include "diffract/kernels/device_traits.h"

namespace diffract::kernels {
namespace {

constexpr DeviceTraits kCpu = {.bands_large_maps = true};
constexpr DeviceTraits kGpu = {
    .fuses_sums = true, .prefers_one_product = true, .writes_into_parts = true, .channels_last = true};

}  // namespace

const DeviceTraits& traits(at::Device device) { return device.is_cuda() ? kGpu : kCpu; }

}  // namespace diffract::kernels
