// What is said of drivers and GPUs that cannot be used, without any.
#include "diffract/kernels/cuda_support.h"

#include <gtest/gtest.h>

namespace diffract::kernels {
namespace {

TEST(CudaSupport, MachineCodeRunsOnItsOwnMajorNumber) {
  EXPECT_TRUE(kernels_run_on("80-real", 8, 0));
  EXPECT_TRUE(kernels_run_on("80-real", 8, 9));
  EXPECT_FALSE(kernels_run_on("86-real", 8, 0));
  EXPECT_FALSE(kernels_run_on("80-real", 9, 0));
  EXPECT_FALSE(kernels_run_on("80-real", 7, 5));
}

TEST(CudaSupport, IntermediateCodeRunsOnWhatIsNoOlder) {
  for (const char* built : {"90", "90-virtual"}) {
    EXPECT_TRUE(kernels_run_on(built, 9, 0)) << built;
    EXPECT_TRUE(kernels_run_on(built, 10, 0)) << built;
    EXPECT_TRUE(kernels_run_on(built, 12, 1)) << built;
    EXPECT_FALSE(kernels_run_on(built, 8, 9)) << built;
  }
}

TEST(CudaSupport, CodeForOneGpuRunsThereAlone) {
  EXPECT_TRUE(kernels_run_on("90a", 9, 0));
  EXPECT_TRUE(kernels_run_on("90a-real", 9, 0));
  EXPECT_FALSE(kernels_run_on("90a", 10, 0));
  EXPECT_TRUE(kernels_run_on("100f", 10, 3));
  EXPECT_FALSE(kernels_run_on("100f", 12, 0));
}

TEST(CudaSupport, OneEntryOfAListIsEnough) {
  EXPECT_TRUE(kernels_run_on("75-real;80-real;90a", 7, 5));
  EXPECT_FALSE(kernels_run_on("75-real;80-real;90a", 12, 0));
  EXPECT_TRUE(kernels_run_on("75-real,90a", 9, 0));
  EXPECT_TRUE(kernels_run_on("native", 6, 1)) << "a word says nothing";
  EXPECT_FALSE(kernels_run_on("", 9, 0));
}

TEST(CudaSupport, NamesAGpuWithoutKernelsAndWhatToDo) {
  const Gpu old{.name = "Tesla V100", .major = 7, .minor = 0};
  const std::string why = why_gpu_is_unusable(old, 1, "90");
  for (const char* part : {"GPU 1", "Tesla V100", "7.0", "only for 90", "DIFFRACT_CUDA_ARCHITECTURES=70",
                           "CUDA_VISIBLE_DEVICES"})
    EXPECT_NE(why.find(part), std::string::npos) << part << " in " << why;
  EXPECT_EQ(why_gpu_is_unusable(old, 1, "70-real"), "");
}

TEST(CudaSupport, NamesAMissingDriverAndOneThatIsTooOld) {
  EXPECT_NE(why_driver_is_unusable(0, 13000).find("there is no NVIDIA driver"), std::string::npos);
  const std::string old = why_driver_is_unusable(12040, 13000);
  EXPECT_NE(old.find("for CUDA 12.4; expected 13.0"), std::string::npos) << old;
  EXPECT_EQ(why_driver_is_unusable(13000, 13000), "");
  EXPECT_EQ(why_driver_is_unusable(13010, 13000), "");
}

}  // namespace
}  // namespace diffract::kernels
