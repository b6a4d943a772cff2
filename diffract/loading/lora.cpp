#include "diffract/loading/lora.h"

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/loading/addition_files.h"
#include "diffract/weights/lora_file.h"

namespace diffract::loading {
namespace {

// One name for the spellings of a module: kohya writes "_" for ".", and transformers 5 leaves "text_model"
// out.
std::string flat_name(std::string module) {
  constexpr std::string_view kTextModel = "text_model_";
  std::replace(module.begin(), module.end(), '.', '_');
  return module.starts_with(kTextModel) ? module.substr(kTextModel.size()) : module;
}

// The component that a key's prefix says, and the rest of the key. The longest prefix counts; none of them:
// the denoiser, where the family has it so.
std::pair<std::string_view, std::string> component_of(const std::string& module, const FamilyFacts& facts) {
  const LoraPrefix* best = nullptr;
  for (const LoraPrefix& one : facts.lora_prefixes)
    if (module.starts_with(one.prefix) && (!best || one.prefix.size() > best->prefix.size())) best = &one;
  if (!best) return {};
  return {best->component, module.substr(best->prefix.size())};
}

std::vector<LoraShare> shares_of(std::string_view component, const std::string& module,
                                 const FamilyFacts& facts, const io::ModelFolder& folder) {
  std::vector<LoraShare> shares;
  if (facts.lora_shares && component == facts.denoiser)
    shares = facts.lora_shares(flat_name(module), folder.config(std::string(component)));
  return shares.empty() ? std::vector<LoraShare>{{.module = module}} : shares;
}

weights::LowRank weighted_share(weights::LowRank pair, double weight, const LoraShare& share) {
  pair.scale *= weight;
  const int64_t rows = pair.up.size(0);
  if (rows % share.of != 0)
    throw CheckpointError(
        "{}: adds {} rows; expected a multiple of {}. The LoRA was made for another base model", pair.name,
        rows, share.of);
  const int64_t first = rows / share.of * share.first, count = rows / share.of * share.count;
  pair.up = pair.up.narrow(0, first, count);
  if (pair.magnitude.defined() && pair.magnitude.numel() == rows)
    pair.magnitude = pair.magnitude.narrow(0, first, count);
  return pair;
}

}  // namespace

void ComponentLora::add(const std::string& module, weights::LowRank addition) {
  additions_[flat_name(module)].push_back(std::move(addition));
}

const std::vector<weights::LowRank>* ComponentLora::find(const std::string& module) const {
  const std::string name = flat_name(module);
  const auto found = additions_.find(name);
  if (found == additions_.end()) return nullptr;
  const std::lock_guard lock(mutex_);
  used_.insert(name);
  return &found->second;
}

weights::TensorSourcePtr ComponentLora::over(weights::TensorSourcePtr source,
                                             const std::shared_ptr<const ComponentLora>& lora) {
  if (!lora) return source;
  return weights::with_low_rank(std::move(source),
                                [lora](const std::string& module) { return lora->find(module); });
}

void ComponentLora::require_used(const std::string& component) const {
  std::vector<std::string> left_out;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [module, additions] : additions_)
      if (!used_.contains(module)) left_out.push_back(additions.front().name);
  }
  if (left_out.empty()) return;
  const std::string& first = *std::min_element(left_out.begin(), left_out.end());
  if (left_out.size() == additions_.size())
    throw CheckpointError(
        "{}: the {} has no such module, nor any other of {}. The LoRA was made for another base model", first,
        component, left_out.size());
  log::write_once(log::Level::warning, fmt::format("{}: the {} has no such module; {} are left out", first,
                                                   component, left_out.size()));
}

LoraSet::LoraSet(const std::vector<LoraOption>& options, const FamilyFacts& facts,
                 const io::ModelFolder& folder) {
  if (!options.empty() && facts.lora_prefixes.empty())
    throw UsageError("lora: {} takes none yet; leave --lora out", facts.class_name);
  for (const LoraOption& option : options) {
    const auto file = find_addition_file(option.path, "--lora", kLoraFile);
    const auto lora = weights::LoraFile::open(file);
    for (const auto& [name, pair] : lora.modules) {
      const auto [component, module] = component_of(name, facts);
      if (component.empty())
        throw CheckpointError("{}: is of no component of {}. The LoRA was made for another kind of model",
                              pair.name, facts.class_name);
      if (!folder.has_component(std::string(component))) {
        log::write_once(log::Level::warning,
                        fmt::format("{}: this pipeline has no {}; what is added to it is left out",
                                    file.string(), component));
        continue;
      }
      auto& into = components_[std::string(component)];
      if (!into) into = std::make_shared<ComponentLora>();
      for (const LoraShare& share : shares_of(component, module, facts, folder))
        into->add(share.module, weighted_share(pair, option.weight, share));
    }
    if (lora.left_out > 0)
      log::write_once(log::Level::warning,
                      fmt::format("{}: its {} dora_scale tensors are left out, as diffusers does",
                                  file.string(), lora.left_out));
    log::info("LoRA {}: {} modules, weight {}",
              option.adapter_name.empty() ? file.stem().string() : option.adapter_name, lora.modules.size(),
              option.weight);
  }
}

std::set<std::string> LoraSet::components() const {
  std::set<std::string> names;
  for (const auto& [name, lora] : components_) names.insert(name);
  return names;
}

std::shared_ptr<const ComponentLora> LoraSet::of(const std::string& component) const {
  const auto found = components_.find(component);
  return found == components_.end() ? nullptr : found->second;
}

}  // namespace diffract::loading
