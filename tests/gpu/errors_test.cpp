// What does not work is said, and the process lives on.
#include <fmt/format.h>

#include <cstdlib>

#include "diffract/core/error.h"
#include "tests/gpu/gpu.h"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace diffract::pipelines {
namespace {

using test::ReferenceCase;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

std::string library_path() {
  const char* given = std::getenv("LD_LIBRARY_PATH");
  return given ? given : "";
}

// libdiffract_cuda is there, whatever the machine has.
class CudaErrors : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(fs::path(DIFFRACT_PROGRAM).parent_path() / "libdiffract_cuda.so"))
      GTEST_SKIP() << "no libdiffract_cuda.so beside the program (preset cuda builds it)";
  }

  void expect_refusal(const std::map<std::string, std::string>& environment,
                      const std::vector<std::string>& parts) {
    const std::string model = ReferenceCase("sd15_euler").checkpoint().string();
    test::RunningProcess program(
        {DIFFRACT_PROGRAM, "generate", "--model", model, "--device", "cuda", "--prompt", "a dog"},
        environment, folder_.path().string());
    const auto end = program.wait(120s);
    EXPECT_EQ(end.exit_code, 2) << end.err;
    EXPECT_NE(end.err.find("device \"cuda\" cannot be used"), std::string::npos) << end.err;
    for (const auto& part : parts)
      EXPECT_NE(end.err.find(part), std::string::npos) << part << ": " << end.err;
  }

  test::TempFolder folder_;
};

TEST_F(CudaErrors, SayThatThereIsNoDriver) {
  if (fs::exists("/proc/driver/nvidia/version")) GTEST_SKIP() << "this machine has a driver";
  expect_refusal({}, {"there is no NVIDIA driver", "580", "--device cpu"});
}

TEST_F(CudaErrors, SayThatTheDriverIsTooOld) {
  // tests/gpu/old_driver.cpp is a libcuda.so.1 of CUDA 12.4.
  expect_refusal({{"LD_LIBRARY_PATH", fmt::format("{}:{}", DIFFRACT_OLD_DRIVER, library_path())}},
                 {"the NVIDIA driver is for CUDA 12.4; expected 13.0", "Update it"});
}

TEST_F(CudaErrors, SayThatThereIsNoGpu) {
  if (!fs::exists("/proc/driver/nvidia/version")) GTEST_SKIP() << "this machine has no driver";
  expect_refusal({{"CUDA_VISIBLE_DEVICES", "-1"}}, {"there is no NVIDIA GPU", "CUDA_VISIBLE_DEVICES"});
}

class GpuErrors : public test::Gpu {};

// While libraries are still being loaded beside it.
TEST_F(GpuErrors, AreSaidByAProgramThatEndsAtOnce) {
  const test::TempFolder folder;
  const std::string model = ReferenceCase("sd15_euler").checkpoint().string();
  const auto expect_refusal = [&](const char* option, const char* value, const char* part) {
    test::RunningProcess program({DIFFRACT_PROGRAM, "generate", "--model", model, "--device", "cuda",
                                  "--prompt", "a dog", option, value},
                                 {}, folder.path().string());
    const auto end = program.wait(120s);
    EXPECT_EQ(end.exit_code, 2) << end.err;
    EXPECT_NE(end.err.find(part), std::string::npos) << end.err;
  };
  for (int i = 0; i < 3; ++i) expect_refusal("--height", "12345", "height");
  expect_refusal("--scheduler", "NoScheduler", "NoScheduler");
}

TEST_F(GpuErrors, OutOfMemoryIsAnErrorAndTheProcessGoesOn) {
  const ReferenceCase some("sd15_euler");
  const auto pipeline = load_on_gpu(some);
  backend_->empty_cache();
  backend_->set_limit(0, backend_->memory(0).used + (uint64_t{8} << 20));
  Request large = some.request();
  large.height = large.width = 1024;
  large.num_inference_steps = 2;
  EXPECT_THROW(pipeline(large), MemoryError);
  backend_->set_limit(0, std::nullopt);
  EXPECT_EQ(pipeline(some.request()).images.size(), some.request().image_count());
}

TEST_F(GpuErrors, Float8IsForFluxInBfloat16) {
  const auto load = [](const char* name, std::optional<at::ScalarType> dtype) {
    const ReferenceCase reference(name);
    loading::LoadOptions options = reference.load_options();
    options.device = at::Device(at::kCUDA, 0);
    options.torch_dtype = dtype;
    options.float8 = true;
    return reference.load(options);
  };
  EXPECT_THROW(load("sd15_euler", at::kBFloat16), UsageError);
  EXPECT_THROW(load("flux_dev", at::kHalf), UsageError);
  if (!backend_->computes_fast(at::kFloat8_e4m3fn, 0)) {
    EXPECT_THROW(load("flux_dev", {}), UsageError);
    return;
  }
  const ReferenceCase flux("flux_dev");
  EXPECT_EQ(load("flux_dev", {})(flux.request()).images.size(), flux.request().image_count());
}

}  // namespace
}  // namespace diffract::pipelines
