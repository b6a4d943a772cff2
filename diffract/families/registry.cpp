#include "diffract/families/registry.h"

#include <algorithm>
#include <array>

#include "diffract/core/error.h"
#include "diffract/families/flux/flux.h"
#include "diffract/families/flux/flux_facts.h"
#include "diffract/families/stable_diffusion/stable_diffusion.h"
#include "diffract/families/stable_diffusion/stable_diffusion_facts.h"
#include "diffract/families/stable_diffusion_xl/stable_diffusion_xl.h"
#include "diffract/families/stable_diffusion_xl/stable_diffusion_xl_facts.h"

namespace diffract::families {
namespace {

template <typename Made>
std::shared_ptr<pipelines::Pipeline> make(const io::ModelFolder& folder,
                                          const loading::LoadOptions& options) {
  return Made::from_folder(folder, options);
}

constexpr Family kFamilies[] = {{&kStableDiffusion, make<StableDiffusionPipeline>},
                                {&kStableDiffusionXL, make<StableDiffusionXLPipeline>},
                                {&kFlux, make<FluxPipeline>}};

}  // namespace

std::span<const Family> families() { return kFamilies; }

std::span<const loading::FamilyFacts* const> all_facts() {
  static const auto facts = [] {
    std::array<const loading::FamilyFacts*, std::size(kFamilies)> all{};
    std::transform(std::begin(kFamilies), std::end(kFamilies), all.begin(),
                   [](const Family& family) { return family.facts; });
    return all;
  }();
  return facts;
}

const Family* find_family(std::string_view class_name) {
  for (const Family& family : kFamilies) {
    const auto& others = family.facts->runs_too;
    if (family.facts->task_class(class_name) ||
        std::find(others.begin(), others.end(), class_name) != others.end())
      return &family;
  }
  return nullptr;
}

void require_family(std::string_view class_name, const std::string& where) {
  if (find_family(class_name)) return;
  std::string names;
  for (const Family& family : families())
    names += fmt::format("{}{}", names.empty() ? "" : " and ", family.facts->models);
  throw CheckpointError(
      "{}: is a {}, which diffract does not run yet. It runs {}; what is not there yet stands in "
      "docs/differences.md",
      where, class_name, names);
}

const Family* family_of_denoiser(std::string_view class_name) {
  for (const Family& family : kFamilies)
    if (family.facts->denoiser_class == class_name) return &family;
  return nullptr;
}

const loading::FamilyFacts* facts_for_plan(const io::ModelFolder& folder) {
  if (const Family* family = find_family(folder.class_name())) return family->facts;
  for (const std::string& name : folder.component_names())
    if (const Family* family = family_of_denoiser(folder.component_class(name))) return family->facts;
  return nullptr;
}

loading::PipelineLayout lay_out_pipeline(const io::ModelFolder& folder,
                                         const loading::LayoutRequest& request) {
  return loading::lay_out_pipeline(folder, facts_for_plan(folder), request);
}

}  // namespace diffract::families
