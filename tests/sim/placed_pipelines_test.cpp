// Whole pipelines spread over several devices, CPU memory and disk give the picture of one device, within
// their budgets.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "diffract/families/diffusion_pipeline.h"
#include "diffract/families/registry.h"
#include "diffract/loading/auto_model.h"
#include "diffract/loading/device_budgets.h"
#include "diffract/loading/image_encoder.h"
#include "diffract/loading/pipeline_layout.h"
#include "diffract/models/vae/autoencoder_kl.h"
#include "tests/sim/sim_support.h"
#include "tests/support/reference_case.h"
#include "tests/support/temp_folder.h"

namespace diffract::pipelines {
namespace {

using placement::DeviceMap;
using placement::MaxMemory;
using placement::Place;
using test::ReferenceCase;

enum class Overflow { none, cpu, disk };

struct Spread {
  std::string name;  // of the case
  std::string strategy;
  int devices;
  Overflow overflow;
};

std::string name_of(const Spread& s) {
  const char* overflow[] = {"", "_cpu", "_disk"};
  return fmt::format("{}_{}_{}{}", s.name, s.strategy, s.devices, overflow[static_cast<int>(s.overflow)]);
}
void PrintTo(const Spread& spread, std::ostream* out) { *out << name_of(spread); }

loading::ExpectedRequest expected_request(const Request& request) {
  return {.height = request.height,
          .width = request.width,
          .batch_size = static_cast<int64_t>(request.image_count()),
          .max_sequence_length = request.max_sequence_length,
          .encodes_pictures = !request.image.empty()};
}

loading::PipelineLayout layout_of(const ReferenceCase& reference) {
  const Request request = reference.request();
  const auto found = io::ModelFolder::open(reference.checkpoint());
  const auto folder =
      loading::with_ip_adapters(found, families::facts_for_plan(found), reference.load_options().ip_adapter);
  return families::lay_out_pipeline(folder, {.height = request.height,
                                             .width = request.width,
                                             .batch_size = static_cast<int64_t>(request.image_count()),
                                             .max_sequence_length = request.max_sequence_length.value_or(512),
                                             .encodes_pictures = !request.image.empty(),
                                             .torch_dtype = at::kFloat});
}

struct Need {
  int64_t weights = 0, working = 0, layer = 0;  // bytes: all, at most, of the largest block
};

Need need_of(const loading::PipelineLayout& layout) {
  Need need;
  for (const auto& component : layout.components) {
    const auto sizes = compute_module_sizes(component.tree, component.options.size);
    need.weights += sizes.total();
    need.working = std::max(need.working, component.working_bytes);
    for (const auto& [name, bytes] : sizes.entries())
      if (const auto* module = component.tree.find(name); module && module->children.empty())
        need.layer = std::max(need.layer, bytes);
    for (const auto& no_split : component.options.no_split_module_classes)
      for (const auto& [name, bytes] : sizes.entries())
        if (const auto* module = component.tree.find(name); module && module->class_name == no_split)
          need.layer = std::max(need.layer, bytes);
  }
  return need;
}

// Budgets that the models fill: with an overflow, about half of the weights fit on the devices.
MaxMemory budgets_for(const Spread& spread, const Need& need) {
  constexpr int64_t kSlack = 256 << 10;
  const int64_t share = spread.overflow == Overflow::none ? need.weights : need.weights / 2;
  MaxMemory memory;
  for (int i = 0; i < spread.devices; ++i)
    memory.set(Place(i), share / spread.devices + 2 * need.working + 4 * need.layer + kSlack);
  if (spread.overflow == Overflow::cpu) memory.set(Place::cpu(), int64_t{1} << 40);
  if (spread.overflow == Overflow::disk) memory.set(Place::cpu(), need.weights / 8 + need.layer);
  return memory;
}

// Neighbouring modules on different places, all of them in use.
void scatter(const placement::PlannedComponent& component, const placement::Module& module,
             const std::string& name, const std::vector<Place>& places, size_t& next, DeviceMap& map) {
  const auto& whole = component.options.no_split_module_classes;
  const bool is_unit = module.children.empty() || !module.tensors.empty() ||
                       std::find(whole.begin(), whole.end(), module.class_name) != whole.end();
  if (is_unit) {
    map.set(placement::join_name(component.name, name), places[next++ % places.size()]);
    return;
  }
  for (const auto& child : module.children)
    scatter(component, child, placement::join_name(name, child.name), places, next, map);
}

DeviceMap scattered_map(const loading::PipelineLayout& layout, const Spread& spread) {
  std::vector<Place> places;
  for (int i = 0; i < spread.devices; ++i) places.emplace_back(i);
  if (spread.overflow != Overflow::none) places.push_back(Place::cpu());
  if (spread.overflow == Overflow::disk) places.push_back(Place::disk());
  DeviceMap map;
  size_t next = 0;
  for (const auto& component : layout.components) {
    scatter(component, component.tree.root, "", places, next, map);
    if (component.tree.find("shared")) {  // one table under two names
      const Place place = map.at(component.name + ".shared");
      map.set(component.name + ".encoder.embed_tokens", place);
    }
  }
  return map;
}

struct Drawn {
  std::vector<at::Tensor> steps;  // on the CPU
  std::vector<io::Image> images;
};

Drawn draw(const ReferenceCase& reference, const loading::LoadOptions& options,
           std::optional<int64_t> steps = {}) {
  auto pipeline = families::DiffusionPipeline::from_pretrained(reference.checkpoint().string(), options);
  reference.set_scheduler(pipeline);
  Request request = reference.request();
  if (steps) request.num_inference_steps = steps;
  Drawn drawn;
  drawn.images = pipeline(request, [&](const StepReport& step) {
                   drawn.steps.push_back(step.latents.to(at::kCPU));
                 }).images;
  return drawn;
}

void expect_same(const Drawn& found, const Drawn& expected) {
  ASSERT_EQ(found.steps.size(), expected.steps.size());
  for (size_t i = 0; i < found.steps.size(); ++i)
    EXPECT_TRUE(at::equal(found.steps[i], expected.steps[i]))
        << "after step " << i << ": " << test::relative_error(found.steps[i], expected.steps[i]);
  ASSERT_EQ(found.images.size(), expected.images.size());
  for (size_t i = 0; i < found.images.size(); ++i)
    EXPECT_EQ(found.images[i].pixels, expected.images[i].pixels);
}

constexpr int64_t kSteps = 3;  // a second round of what is offloaded, and one after it

Drawn on_one_device(const std::string& name, std::optional<int64_t> steps = {}) {
  const ReferenceCase reference(name);
  loading::LoadOptions options = reference.load_options();
  options.device = sim::device(0);
  return draw(reference, options, steps);
}

const Drawn& expected_of(const std::string& name) {
  static std::map<std::string, Drawn> drawn;
  const auto known = drawn.find(name);
  return known != drawn.end() ? known->second
                              : drawn.emplace(name, on_one_device(name, kSteps)).first->second;
}

class SpreadPipeline : public ::testing::TestWithParam<Spread> {};

TEST_P(SpreadPipeline, GivesThePictureOfOneDeviceWithinItsBudgets) {
  const Spread& spread = GetParam();
  const ReferenceCase reference(spread.name);
  const loading::PipelineLayout layout = layout_of(reference);
  loading::LoadOptions options = reference.load_options();
  options.device = sim::device(0);
  options.max_memory = budgets_for(spread, need_of(layout));
  if (spread.strategy == "scattered")
    options.device_map = scattered_map(layout, spread);
  else
    options.device_map = spread.strategy;
  options.expected = expected_request(reference.request());
  const Drawn& expected = expected_of(spread.name);
  const uint64_t used_before = sim::backend().memory(0).used;
  loading::reset_peaks();
  expect_same(draw(reference, options, kSteps), expected);
  for (const auto& [place, bytes] : options.max_memory)
    if (place.is_accelerator()) {
      EXPECT_LE(sim::backend().peak(place.index()), static_cast<uint64_t>(bytes));
    }
  EXPECT_EQ(sim::backend().memory(0).used, used_before);
}

std::vector<Spread> spreads() {
  std::vector<Spread> all;
  for (const char* name : {"flux_dev", "sd15_euler", "sdxl_micro"})
    for (const char* strategy : {"auto", "balanced", "balanced_low_0", "sequential", "scattered"})
      for (const int devices : {1, 2, 4})
        for (const Overflow overflow : {Overflow::none, Overflow::cpu, Overflow::disk})
          all.push_back({name, strategy, devices, overflow});
  for (const char* name : {"sd15_inpaint", "sd15_inpaint9"})  // with the VAE's encoder
    for (const char* strategy : {"auto", "scattered"})
      for (const Overflow overflow : {Overflow::none, Overflow::cpu, Overflow::disk})
        all.push_back({name, strategy, 2, overflow});
  // What a LoRA adds to weights that stay, and to those that come and go.
  for (const char* name : {"sd15_lora_two", "sd15_lora_dora", "sd15_textual_inversion", "sd15_ip_adapter_two",
                           "sd15_safety_checker"})
    for (const Overflow overflow : {Overflow::none, Overflow::cpu, Overflow::disk})
      all.push_back({name, "auto", 2, overflow});
  return all;
}
INSTANTIATE_TEST_SUITE_P(All, SpreadPipeline, ::testing::ValuesIn(spreads()),
                         [](const auto& test) { return name_of(test.param); });

class OneDevice : public ::testing::TestWithParam<std::string> {};

TEST_P(OneDevice, IsTheCpuWithinTheParityBound) {
  const ReferenceCase reference(GetParam());
  const Drawn on_cpu = draw(reference, reference.load_options());
  const Drawn on_sim = on_one_device(GetParam());
  ASSERT_EQ(on_sim.steps.size(), on_cpu.steps.size());
  for (size_t i = 0; i < on_cpu.steps.size(); ++i)
    EXPECT_LT(test::relative_error(on_sim.steps[i], on_cpu.steps[i]), 1e-4) << "after step " << i;
}
INSTANTIATE_TEST_SUITE_P(All, OneDevice,
                         ::testing::Values("flux_dev", "sd15_euler", "flux_dev_true_cfg", "sd15_pndm",
                                           "sdxl_micro", "sd15_img2img", "sd15_inpaint"));

// Weights in another dtype than the files have: converted while they are read, or once into the folder.
TEST(PlacedModel, ConvertsWhatStaysOnDisk) {
  const c10::InferenceMode no_autograd;
  const test::TempFolder folder;
  const std::string model = ReferenceCase("flux_dev").checkpoint().string();
  const auto decode = [&](const loading::ModelOptions& options) {
    const auto vae = loading::ModelHandle<models::AutoencoderKL>::from_pretrained(model, options);
    at::manual_seed(1);
    const int64_t channels = vae->config().latent_channels;
    const at::Tensor pixels = vae->decode(at::randn({1, channels, 8, 8})).to(at::kCPU);
    const auto files = std::distance(std::filesystem::directory_iterator(folder.path()), {});
    EXPECT_EQ(files > 0, !options.offload_folder.empty());
    return pixels;
  };
  loading::ModelOptions options{
      .subfolder = "vae", .torch_dtype = at::kBFloat16, .arithmetic = at::kFloat, .device = sim::device(0)};
  const at::Tensor expected = decode(options);
  options.device_map = DeviceMap{{"", "disk"}};
  EXPECT_TRUE(at::equal(decode(options), expected));
  options.offload_folder = folder.path().string();
  EXPECT_TRUE(at::equal(decode(options), expected));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));  // they go with the model
}

TEST(PlacedModel, RefusesAMapThatDividesABlock) {
  const std::string model = ReferenceCase("flux_dev").checkpoint().string();
  const auto message = test::error_of<UsageError>([&] {
    loading::AutoModel::from_pretrained(
        model, {.subfolder = "transformer",
                .device = sim::device(0),
                .device_map = DeviceMap{{"", 0}, {"transformer_blocks.0.attn.to_q", 1}}});
  });
  for (const char* part : {"transformer_blocks.0", "divided", "to_q"})
    EXPECT_NE(message.find(part), std::string::npos) << message;
}

// What a block's norms take from the time is computed apart from the block: as a whole, where the map says.
TEST(PlacedModel, ComputesABlocksModulationWhereTheMapPutsIt) {
  const ReferenceCase reference("flux_dev");
  const auto with = [&](const DeviceMap& map) {
    loading::LoadOptions options = reference.load_options();
    options.device = sim::device(0);
    options.device_map = map;
    return options;
  };
  const DeviceMap all{{"text_encoder", 0}, {"text_encoder_2", 0}, {"transformer", 0}, {"vae", 0}};
  DeviceMap apart = all, divided = all;
  const std::string block = "transformer.transformer_blocks.0.";
  apart.set(block + "norm1", placement::Place(1));
  apart.set(block + "norm1_context", placement::Place(1));
  expect_same(draw(reference, with(apart), kSteps), expected_of("flux_dev"));
  divided.set(block + "norm1", placement::Place(1));
  const auto message = test::error_of<UsageError>([&] { draw(reference, with(divided), kSteps); });
  EXPECT_NE(message.find("divided between 1 and 0"), std::string::npos) << message;
}

TEST(PlacedModel, KeepsABudgetAsAHardLimit) {
  const ReferenceCase reference("sd15_euler");
  loading::LoadOptions options = reference.load_options();
  options.device = sim::device(0);
  options.device_map = DeviceMap{{"", 0}};
  options.max_memory = {{0, "300KB"}};  // of about 1.5 MB
  const int64_t blocks = sim::backend().live_blocks();
  EXPECT_THROW(families::DiffusionPipeline::from_pretrained(reference.checkpoint().string(), options),
               MemoryError);
  EXPECT_EQ(sim::backend().live_blocks(), blocks);
  EXPECT_NO_THROW(
      at::empty({1 << 20}, at::TensorOptions(sim::device(0))));  // the limit went with the pipeline
}

// Without torch_dtype the files' float16 is computed in float32: what it is widened to, and what passes
// between layers, is counted so.
TEST(PlacedModel, IsRefusedOrDrawsWithinItsBudget) {
  const ReferenceCase reference("sd15_fp16_variant");
  loading::LoadOptions options = reference.load_options();
  options.torch_dtype.reset();
  options.device = sim::device(0);
  options.expected = expected_request(reference.request());
  int refused = 0, drawn = 0;
  for (int64_t kilobytes = 200; kilobytes < 6000; kilobytes += kilobytes / 4) {
    options.max_memory = {{0, fmt::format("{}KB", kilobytes)}, {"cpu", "1GB"}};
    std::optional<families::DiffusionPipeline> pipeline;
    try {
      pipeline = reference.load(options);
    } catch (const MemoryError&) {
      ++refused;
      continue;
    }
    Request request = reference.request();
    request.num_inference_steps = 1;
    EXPECT_NO_THROW((*pipeline)(request)) << kilobytes << " KB";
    ++drawn;
  }
  EXPECT_GT(refused, 0);
  EXPECT_GT(drawn, 3);
}

TEST(PlacedModel, NamesADeviceThatIsNotThere) {
  const ReferenceCase reference("sd15_euler");
  loading::LoadOptions options = reference.load_options();
  options.device = sim::device(0);
  options.device_map = DeviceMap{{"", 0}, {"unet", 11}};
  const auto message = test::error_of<UsageError>(
      [&] { families::DiffusionPipeline::from_pretrained(reference.checkpoint().string(), options); });
  EXPECT_NE(message.find("11"), std::string::npos) << message;
}

}  // namespace
}  // namespace diffract::pipelines
