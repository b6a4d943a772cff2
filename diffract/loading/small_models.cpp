#include "diffract/loading/small_models.h"

#include <algorithm>

namespace diffract::loading {
namespace {

// Where one thread and two take as long; with half of it one is a quarter faster, with three times of it two
// are 1.35 times as fast.
constexpr double kFewestFlops = 0.12e9;

}  // namespace

bool is_too_small_to_share(const io::ModelFolder& folder, const FamilyFacts* facts,
                           const LayoutRequest& request) {
  const PipelineLayout layout = lay_out_pipeline(folder, facts, request);
  double most = 0;  // of what is run in each step
  for (size_t i = 0; i < layout.components.size(); ++i)
    if (layout.components[i].runs > 1) most = std::max(most, layout.costs[i].flops);
  return most > 0 && most < kFewestFlops;
}

}  // namespace diffract::loading
