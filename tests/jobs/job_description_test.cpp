// What two processes with different jobs are told.
#include "diffract/jobs/job_description.h"

#include <gtest/gtest.h>

namespace diffract::jobs {
namespace {

struct Job {
  std::vector<std::string> prompts = {"a cat", "a dog"};
  uint64_t seed = 0;
  int64_t batch_size = 1, steps = 4;
  Json settings = {{"scheduler", "euler"}, {"output", "{index}.png"}};
  int processes = 2;
  JobSchedule schedule = JobSchedule::dynamic;
  bool names_batch_size = true;

  std::string text() const {
    std::vector<pipelines::Request> entries;
    for (const std::string& prompt : prompts) {
      pipelines::Request request{.prompt = {prompt}};
      request.num_inference_steps = steps;
      entries.push_back(request);
    }
    const auto batches = plan_job(entries, seed, batch_size);
    Json all = settings;
    if (names_batch_size) all["batch_size"] = batch_size;  // as `generate` does
    return std::to_string(processes) + " " + describe_job(batches, schedule, all);
  }
};

std::string difference(const Job& theirs, const Job& ours) {
  return job_difference({.process = "rank 0", .text = theirs.text()},
                        {.process = "rank 1", .text = ours.text()});
}

TEST(JobDifference, NamesTheOptionAndBothValues) {
  const Job job;
  EXPECT_EQ(job.text(), Job().text());
  EXPECT_EQ(difference(job, {.steps = 5}), "--num-inference-steps is 4 for rank 0 and 5 for rank 1");
  EXPECT_EQ(difference(job, {.settings = {{"scheduler", "ddim"}, {"output", "{index}.png"}}}),
            "--scheduler is \"euler\" for rank 0 and \"ddim\" for rank 1");
  EXPECT_EQ(difference(job, {.seed = 7}), "--seed, number 1, is 0 for rank 0 and 7 for rank 1");
  EXPECT_EQ(difference(job, {.prompts = {"a cat", "a bird"}}),
            "--prompt, number 2, is \"a dog\" for rank 0 and \"a bird\" for rank 1");
  EXPECT_EQ(difference(job, {.prompts = {"a cat"}}), "--prompt has 2 values for rank 0 and 1 for rank 1");
  EXPECT_EQ(difference(job, {.batch_size = 2}), "--batch-size is 1 for rank 0 and 2 for rank 1");
  EXPECT_EQ(difference(job, {.processes = 3}), "the number of processes is 2 for rank 0 and 3 for rank 1");
  EXPECT_EQ(difference(job, {.schedule = JobSchedule::fixed}),
            "--schedule is \"dynamic\" for rank 0 and \"static\" for rank 1");
  EXPECT_EQ(difference({.names_batch_size = false}, {.batch_size = 2, .names_batch_size = false}),
            "the prompts are cut into other batches for rank 1 than for rank 0");
}

TEST(JobDifference, TakesAJobWithoutPrompts) {
  const std::string none = "2 " + describe_job({}, JobSchedule::dynamic, Json::object());
  EXPECT_NE(job_difference({.process = "a", .text = none}, {.process = "b", .text = Job().text()}), "");
}

TEST(JobDifference, FindsADifferenceBehindALongBeginning) {
  const std::string same(1000, 'x');
  const std::string found = difference({.prompts = {same + "a"}}, {.prompts = {same + "b"}});
  EXPECT_TRUE(found.starts_with("--prompt, number 1, is \"xxx")) << found;
  EXPECT_LT(found.size(), 400u) << found;
  const std::vector<std::string> many(5000, "a dog");
  std::vector<std::string> other = many;
  other.back() = "a cat";
  EXPECT_NE(Job{.prompts = many}.text(), Job{.prompts = other}.text());
  EXPECT_LT(Job{.prompts = std::vector<std::string>(5000, std::string(5000, '\n'))}.text().size(),
            size_t{8} << 20);
}

TEST(JobDifference, TakesWhateverAStoreMayHold) {
  const std::string ours = Job().text();
  for (const std::string theirs : {"", "x", "2 ", "2 [", "2 []", "2 {}", "2 {\"prompt\": 3}", "\xff\xfe {"})
    EXPECT_NE(job_difference({.process = "a", .text = theirs}, {.process = "b", .text = ours}), "") << theirs;
}

}  // namespace
}  // namespace diffract::jobs
