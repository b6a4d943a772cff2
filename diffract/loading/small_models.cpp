#include "diffract/loading/small_models.h"

#include <algorithm>

namespace diffract::loading {
namespace {

// Where one thread and two take as long; with half of it one is a quarter faster, with three times of it two
// are 1.35 times as fast.
constexpr double kFewestFlops = 0.12e9;

}  // namespace

bool is_too_small_to_share(const RequestNeeds& needs, std::string_view denoiser) {
  return std::any_of(needs.begin(), needs.end(), [&](const ComponentNeed& need) {
    return need.name == denoiser && need.flops > 0 && need.flops < kFewestFlops;
  });
}

}  // namespace diffract::loading
