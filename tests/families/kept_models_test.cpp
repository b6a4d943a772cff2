// Models of a pipeline of stages stay from picture to picture where there is room, and requests that take
// more memory than there is are refused before anything is computed.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <thread>

#include "diffract/families/diffusion_pipeline.h"
#include "diffract/families/flux/flux.h"
#include "diffract/families/flux/flux_facts.h"
#include "diffract/families/registry.h"
#include "diffract/loading/auto_model.h"
#include "tests/support/reference_case.h"
#include "tests/support/temp_folder.h"

namespace diffract::families {
namespace {

using test::ReferenceCase;

constexpr uint64_t kPlenty = uint64_t{1} << 40, kLittle = 1 << 16;

// How often files are opened while it lives.
class Opens {
 public:
  explicit Opens(const std::filesystem::path& folder) : queue_(::inotify_init1(IN_NONBLOCK)) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
      if (entry.path().extension() == ".safetensors")
        files_[::inotify_add_watch(queue_, entry.path().c_str(), IN_OPEN)] = entry.path().string();
  }
  ~Opens() { ::close(queue_); }
  Opens(const Opens&) = delete;
  Opens& operator=(const Opens&) = delete;

  std::map<std::string, int> counts() {
    std::map<std::string, int> counts;
    for (const auto& [watch, file] : files_) counts[file] = 0;
    alignas(inotify_event) std::array<char, 1 << 16> events{};
    for (ssize_t size = 0; (size = ::read(queue_, events.data(), events.size())) > 0;)
      for (ssize_t at = 0; at < size;) {
        const auto* event = reinterpret_cast<const inotify_event*>(events.data() + at);
        ++counts.at(files_.at(event->wd));
        at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
      }
    return counts;
  }

 private:
  int queue_;
  std::map<int, std::string> files_;
};

// A FLUX model in a folder of its own, whose files nobody else opens.
class KeptModelsTest : public ::testing::Test {
 protected:
  KeptModelsTest() {
    std::filesystem::copy(reference_.checkpoint(), folder_.path() / "model",
                          std::filesystem::copy_options::recursive);
  }
  std::string model() const { return (folder_.path() / "model").string(); }
  // With so much free host memory, which `free` may change later.
  DiffusionPipeline load(const std::shared_ptr<uint64_t>& free) const {
    loading::LoadOptions options = reference_.load_options();
    options.memory_check.free_host_bytes = [free] { return *free; };
    return DiffusionPipeline::from_pretrained(model(), options);
  }
  pipelines::Request request(uint64_t seed = 0) const {
    pipelines::Request request = reference_.request();
    request.num_inference_steps = 2;
    request.seed = seed;
    return request;
  }
  static std::map<std::string, loading::ComponentStay> stays(const DiffusionPipeline& pipeline) {
    std::map<std::string, loading::ComponentStay> stays;
    for (auto& one : pipeline.stays()) stays[one.name] = one;
    return stays;
  }

  ReferenceCase reference_{"flux_dev"};
  test::TempFolder folder_;
};

TEST_F(KeptModelsTest, AJobOpensAndLoadsEachModelOnce) {
  Opens opens(model());
  const auto pipeline = load(std::make_shared<uint64_t>(kPlenty));
  for (uint64_t i = 0; i < 6; ++i) pipeline(request(i));
  const auto counts = opens.counts();
  EXPECT_EQ(counts.size(), 4u);
  for (const auto& [file, count] : counts) EXPECT_EQ(count, 1) << file;
  const auto found = stays(pipeline);
  EXPECT_EQ(found.size(), 4u);
  for (const auto& [name, one] : found) {
    EXPECT_TRUE(one.stays) << name << " " << one.gone_for;
    EXPECT_EQ(one.loads, 1) << name;
  }
}

TEST_F(KeptModelsTest, ModelsComeAndGoWithTheirStagesWhereMemoryIsShort) {
  const auto plenty = load(std::make_shared<uint64_t>(kPlenty)), little = [&] {
    loading::LoadOptions options = reference_.load_options();
    options.memory_check = {.refuses = false, .free_host_bytes = [] { return kLittle; }};
    return DiffusionPipeline::from_pretrained(model(), options);
  }();
  const auto of_its_own_prompt = [&](uint64_t i) {
    pipelines::Request one = request(i);
    one.prompt = {fmt::format("dog number {}", i)};
    return one;
  };
  for (uint64_t i = 0; i < 3; ++i)
    EXPECT_EQ(little(of_its_own_prompt(i)).images[0].pixels, plenty(of_its_own_prompt(i)).images[0].pixels);
  little(of_its_own_prompt(1));  // its text is known: the encoders are not needed
  for (const auto& [name, one] : stays(little)) {
    EXPECT_FALSE(one.stays) << name;
    EXPECT_EQ(one.loads, name.starts_with("text_encoder") ? 3 : 4) << name;
    EXPECT_NE(one.gone_for.find(" on cpu, where 0 B are left"), std::string::npos) << one.gone_for;
  }
}

TEST_F(KeptModelsTest, TheTransformerGoesAfterTheOthers) {
  const auto free = std::make_shared<uint64_t>(kPlenty);
  loading::LoadOptions options = reference_.load_options();
  options.memory_check.free_host_bytes = [free] { return *free; };
  options.memory_check.refuses = false;
  const auto pipeline = DiffusionPipeline::from_pretrained(model(), options);
  pipeline(request());
  // Too little for the VAE's stage beside all others, by a byte that the smallest of them makes up for.
  loading::LayoutRequest shape{
      .height = request().height, .width = request().width, .num_inference_steps = 2};
  const auto layout = families::lay_out_pipeline(io::ModelFolder::open(model()), shape);
  int64_t most = 0, mapped = 0;
  for (const auto& component : layout.components) {
    most = std::max(most, component.working_bytes);
    mapped += compute_module_sizes(component.tree, component.options.size).total();
  }
  *free = static_cast<uint64_t>(mapped + most + most / 15);  // with the margin, and a little less than enough
  while (stays(pipeline).at("text_encoder").stays && *free > kLittle) {
    *free -= *free / 64;
    pipeline(request());
  }
  EXPECT_FALSE(stays(pipeline).at("text_encoder").stays);
  EXPECT_TRUE(stays(pipeline).at("transformer").stays) << stays(pipeline).at("transformer").gone_for;
}

TEST_F(KeptModelsTest, ThreadsShareThem) {
  const auto pipeline = load(std::make_shared<uint64_t>(kPlenty));
  const auto expected = pipeline(request(7)).images[0].pixels;
  std::array<std::vector<uint8_t>, 3> found;
  std::vector<std::thread> threads;
  for (auto& pixels : found) threads.emplace_back([&] { pixels = pipeline(request(7)).images[0].pixels; });
  for (auto& thread : threads) thread.join();
  for (const auto& pixels : found) EXPECT_EQ(pixels, expected);
  for (const auto& [name, one] : stays(pipeline)) EXPECT_EQ(one.loads, 1) << name;
}

TEST_F(KeptModelsTest, APipelineThatIsGivenAModelLeavesTheOthersToTheirStages) {
  loading::LoadOptions options = reference_.load_options();
  const auto vae =
      loading::ModelHandle<models::AutoencoderKL>::from_pretrained(model(), {.subfolder = "vae"});
  const auto pipeline = FluxPipeline::from_pretrained(model(), {.vae = vae}, options);
  pipeline(request());
  EXPECT_TRUE(pipeline.stays().empty());
}

// What encodes and then makes room for another pipeline, as examples/split_transformer.cpp.
TEST_F(KeptModelsTest, APipelineWithoutSomeModelsKeepsNoneOfTheOthers) {
  const auto pipeline = FluxPipeline::from_pretrained(model(), {.transformer = nullptr, .vae = nullptr},
                                                      reference_.load_options());
  pipeline.encode_prompt({"a dog"});
  EXPECT_TRUE(pipeline.stays().empty());
}

TEST_F(KeptModelsTest, WhoIsToldOfLoadingMayAskWhatStays) {
  std::optional<DiffusionPipeline> pipeline;
  size_t most = 0;
  loading::LoadOptions options = reference_.load_options();
  options.on_load = [&](const loading::LoadReport&) {
    if (pipeline) most = std::max(most, pipeline->stays().size());
  };
  pipeline.emplace(DiffusionPipeline::from_pretrained(model(), options));
  (*pipeline)(request());
  EXPECT_EQ(most, 4u);
}

// A model of 32 TB in memory, which no swap space makes up for.
class LargeModelTest : public ::testing::Test {
 protected:
  static constexpr int64_t kUnit = int64_t{1} << 42;
  static void require(int64_t free, int64_t weights, int64_t stored, int64_t computing = 1) {
    const auto folder = io::ModelFolder::open(test::data("reference/checkpoints/flux-dev"));
    const loading::RequestMemory memory(loading::RequestMemory::Setting{
        .parts = loading::PipelineParts(folder, &kFlux, "", {}),
        .base = {},
        .placements = loading::PlacementPlan(at::kCPU),
        .max_memory = {},
        .check = {.free_host_bytes = [=] { return static_cast<uint64_t>(free); }}});
    const placement::Place cpu = placement::Place::cpu();
    const loading::RequestNeeds needs = {
        {.name = "transformer",
         .use = {.weights = {{cpu, weights}}, .computing = {{cpu, computing}}},
         .is_mapped = false,
         .importance = 0,
         .stored_bytes = stored}};
    const auto all = [](const loading::ComponentNeed&) { return true; };
    const auto none = [](const loading::ComponentNeed&) { return false; };
    memory.require({.height = 64, .width = 64, .images = 1, .texts = 1, .is_guided = false, .steps = 1},
                   needs, all, none, /*all_stay=*/false);
  }
};

// Loading would not tell: the kernel promises the memory and ends the process that uses it.
TEST_F(LargeModelTest, ThatIsConvertedToMoreThanThereIsEndsTheJob) {
  EXPECT_THROW(require(6 * kUnit, 8 * kUnit, 4 * kUnit), loading::ModelDoesNotFit);
  EXPECT_NO_THROW(require(9 * kUnit, 8 * kUnit, 4 * kUnit));
}

TEST_F(LargeModelTest, ThatIsReadBlockByBlockTakesHalfOfWhatIsFree) {
  EXPECT_NO_THROW(require(8 * kUnit, 8 * kUnit, 8 * kUnit));
  const auto message =
      test::error_of<MemoryError>([&] { require(8 * kUnit, 8 * kUnit, 8 * kUnit, 6 * kUnit); });
  EXPECT_NE(message.find("transformer: a picture of 64x64"), std::string::npos) << message;
}

class MemoryCheckTest : public ::testing::TestWithParam<const char*> {
 protected:
  DiffusionPipeline load(const loading::MemoryCheck& check) const {
    loading::LoadOptions options = reference_.load_options();
    options.memory_check = check;
    return DiffusionPipeline::from_pretrained(reference_.checkpoint().string(), options);
  }
  pipelines::Request request() const {
    pipelines::Request request = reference_.request();
    request.num_inference_steps = 2;
    return request;
  }
  ReferenceCase reference_{GetParam()};
};

TEST_P(MemoryCheckTest, RefusesWhatTakesMoreThanThereIs) {
  const auto free = std::make_shared<uint64_t>(kPlenty);
  const auto pipeline = load({.free_host_bytes = [free] { return *free; }});
  EXPECT_NO_THROW(pipeline(request()));
  pipelines::Request large = request();
  large.height = large.width = 16384;
  large.num_images_per_prompt = 16;
  bool has_begun = false;
  *free = uint64_t{64} << 30;
  const auto message = test::error_of<MemoryError>(
      [&] { pipeline(large, [&](const pipelines::StepReport&) { has_begun = true; }); });
  for (const char* part : {"16384x16384 pixels", " on cpu ", "GB are free there", "--no-memory-check"})
    EXPECT_NE(message.find(part), std::string::npos) << message;
  EXPECT_FALSE(has_begun);
  EXPECT_NO_THROW(pipeline(request()));
}

TEST_P(MemoryCheckTest, CountsAllProcessesOfTheHost) {
  const uint64_t enough = [&] {  // for one
    uint64_t bytes = 1 << 16;
    while (true) try {
        load({.processes_on_host = 2, .free_at_start = 2 * bytes, .free_host_bytes = [] { return kPlenty; }})(
            request());
        return bytes;
      } catch (const MemoryError&) {
        bytes += bytes / 8;
      }
  }();
  const auto message = test::error_of<MemoryError>([&] {
    load({.processes_on_host = 4, .free_at_start = 2 * enough, .free_host_bytes = [] { return kPlenty; }})(
        request());
  });
  EXPECT_NE(message.find("each of the 4 processes on this host may take"), std::string::npos) << message;
}

TEST_P(MemoryCheckTest, CanBeTurnedOff) {
  EXPECT_THROW(load({.free_host_bytes = [] { return kLittle; }})(request()), MemoryError);
  EXPECT_NO_THROW(load({.refuses = false, .free_host_bytes = [] { return kLittle; }})(request()));
}

INSTANTIATE_TEST_SUITE_P(All, MemoryCheckTest, ::testing::Values("flux_dev", "sd15_euler"));

}  // namespace
}  // namespace diffract::families
