// The host does not wait for the GPU between the steps of a request: a trace of what it calls says so.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "bench/cuda_trace.h"
#include "diffract/core/json.h"
#include "tests/gpu/gpu.h"
#include "tests/support/pictures.h"
#include "tests/support/temp_folder.h"

namespace diffract::pipelines {
namespace {

using test::ReferenceCase;

// Calls that return when the GPU has done something. A copy to or from memory that is not page-locked is
// followed by one of them.
const std::set<std::string> kWaits = {
    "cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy",
    "cuStreamSynchronize",   "cuCtxSynchronize",      "cuEventSynchronize",   "cudaMemcpy2D"};

struct Trace {
  size_t launches = 0, graphs = 0, frees = 0;
  std::vector<std::string> waits;  // between the first launch and the last
};

Trace read_trace(const std::filesystem::path& file) {
  struct Call {
    double time;
    std::string name;
  };
  std::vector<Call> calls;
  const Json trace_file = load_json(file);
  for (const Json& event : trace_file["traceEvents"]) {
    const std::string kind = event.value("cat", "");
    if (kind == "cuda_runtime" || kind == "cuda_driver")
      calls.push_back({event["ts"].get<double>(), event["name"].get<std::string>()});
  }
  std::sort(calls.begin(), calls.end(), [](const Call& a, const Call& b) { return a.time < b.time; });
  const auto is_launch = [](const Call& call) { return call.name.find("Launch") != std::string::npos; };
  Trace trace;
  const auto first = std::find_if(calls.begin(), calls.end(), is_launch);
  const auto last = std::find_if(calls.rbegin(), std::make_reverse_iterator(first), is_launch).base();
  for (auto call = first; call != last; ++call) {
    trace.launches += is_launch(*call);
    trace.graphs += call->name.find("GraphLaunch") != std::string::npos;
    trace.frees += call->name == "cudaFree";
    if (kWaits.contains(call->name)) trace.waits.push_back(call->name);
  }
  return trace;
}

class Steps : public test::Gpu {
 protected:
  // Steps 3 to 7 of 8: the first runs as it is, the second is recorded.
  Trace trace(const std::string& name, at::ScalarType dtype, bool look_at_latents) {
    const ReferenceCase reference(name);
    const auto pipeline = load_on_gpu(reference, dtype);
    Request request = reference.request();
    request.num_inference_steps = 8;
    const auto file = folder_ / "trace.json";
    std::optional<bench::CudaTrace> trace;
    pipeline(request, [&](const StepReport& step) {
      if (step.index == 1) trace.emplace();
      if (trace && look_at_latents) step.latents.sum().item<float>();
      if (step.index != 6) return;
      trace->save(file.string());
      trace.reset();
    });
    return read_trace(file);
  }

  test::TempFolder folder_;
};

TEST_F(Steps, DoNotWaitForTheGpu) {
  for (const char* name :
       {"sd15_euler", "sd15_euler_a", "sd15_ddim_eta", "sd15_dpmpp_2m_sde", "sd15_unipc", "sd15_pndm",
        "sd15_heun", "sd15_lms", "sd15_no_cfg", "sd2_vpred", "flux_dev", "flux_schnell", "flux_dev_true_cfg"})
    for (const auto dtype : {at::kHalf, at::kBFloat16}) {
      const Trace found = trace(name, dtype, false);
      EXPECT_GE(found.graphs, 5u) << name << ": the steps were not recorded";
      EXPECT_GE(found.launches, found.graphs);
      EXPECT_TRUE(found.waits.empty())
          << name << ": " << found.waits.size() << " waits, the first " << found.waits.front();
    }
}

// From the last step of a picture to the first of the next: the host looks whether the values are finite, and
// may copy one tensor. It does not wait for the picture, nor gives the GPU's memory back.
TEST_F(Steps, OfTheNextPictureAreToldWhileAPictureIsOnItsWay) {
  for (const char* name : {"sd15_euler", "flux_dev"}) {
    const ReferenceCase reference(name);
    const auto pipeline = load_on_gpu(reference, at::kHalf);
    Request request = reference.request();
    request.num_inference_steps = 4;
    const auto expected = pipeline(request).images;
    const auto file = folder_ / "trace.json";
    std::optional<bench::CudaTrace> trace;
    const auto first = pipeline.begin(request, [&](const StepReport& step) {
      if (step.index + 1 == step.count) trace.emplace();
    });
    const auto second = pipeline.begin(request, [&](const StepReport& step) {
      if (step.index > 0) return;
      trace->save(file.string());
      trace.reset();
    });
    const Trace found = read_trace(file);
    EXPECT_LE(found.waits.size(), 2u) << name << ": " << ::testing::PrintToString(found.waits);
    EXPECT_EQ(found.frees, 0u) << name;
    for (const auto& output : {first, second}) {
      EXPECT_TRUE(output.images.empty());
      const auto images = output.arriving();
      ASSERT_EQ(images.size(), expected.size());
      EXPECT_LE(test::largest_pixel_difference(images, expected), 1) << name;
    }
  }
}

// That a wait would be seen.
TEST_F(Steps, WaitWhenTheirObserverDoes) { EXPECT_GE(trace("sd15_euler", at::kHalf, true).waits.size(), 5u); }

}  // namespace
}  // namespace diffract::pipelines
