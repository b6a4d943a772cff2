// Who a process is, from variables alone.
#include "diffract/distributed/environment.h"

#include <gtest/gtest.h>

#include "diffract/distributed/host_list.h"
#include "tests/support/temp_folder.h"

namespace diffract::distributed {
namespace {

const Variables kTorchrun = {{"RANK", "3"},
                             {"WORLD_SIZE", "4"},
                             {"LOCAL_RANK", "1"},
                             {"LOCAL_WORLD_SIZE", "2"},
                             {"MASTER_ADDR", "node0"},
                             {"MASTER_PORT", "12345"}};
const Variables kOpenMpi = {{"OMPI_COMM_WORLD_RANK", "1"},
                            {"OMPI_COMM_WORLD_SIZE", "2"},
                            {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                            {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                            {"PMIX_RANK", "1"},
                            {"PMIX_NAMESPACE", "12.1"}};
const Variables kSlurm = {{"SLURM_PROCID", "5"},
                          {"SLURM_NTASKS", "7"},
                          {"SLURM_LOCALID", "1"},
                          {"SLURM_NNODES", "3"},
                          {"SLURM_NODEID", "1"},
                          {"SLURM_STEP_NODELIST", "n[08-10]"},
                          {"SLURM_STEP_TASKS_PER_NODE", "3,2(x2)"},
                          {"SLURM_JOB_ID", "77"}};

Variables with(Variables variables, const Variables& more) {
  for (const auto& [name, value] : more) variables[name] = value;
  return variables;
}

std::string error_of(const Variables& variables) {
  return test::error_of<UsageError>([&] { detect_environment(variables); });
}

TEST(DetectEnvironment, IsAloneWithoutVariables) {
  const Environment alone = detect_environment({{"PATH", "/bin"}, {"MASTER_ADDR", "left-over"}});
  EXPECT_EQ(alone.source, "");
  EXPECT_EQ(alone.world_size, 1);
  EXPECT_EQ(alone.who(), "rank 0 of 1");
}

TEST(DetectEnvironment, ReadsTorchrun) {
  const Environment found = detect_environment(
      with(kTorchrun, {{"TORCHELASTIC_RESTART_COUNT", "2"}, {"TORCHELASTIC_USE_AGENT_STORE", "True"}}));
  EXPECT_EQ(found.source, "torchrun");
  EXPECT_EQ(found.rank, 3);
  EXPECT_EQ(found.world_size, 4);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.local_world_size, 2);
  EXPECT_EQ(found.master.text(), "node0:12345");
  EXPECT_EQ(found.restart_count, 2);
  EXPECT_TRUE(found.store_is_served);
  EXPECT_FALSE(found.one_node());
}

// What torch's env:// needs, and what Kubeflow and several clouds set.
TEST(DetectEnvironment, NeedsNoMoreThanTorchDoes) {
  Variables four = {
      {"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "127.0.0.1"}, {"MASTER_PORT", "29655"}};
  for (const char* here : {"127.0.0.1", "localhost", "::1"}) {
    const Environment found = detect_environment(with(four, {{"MASTER_ADDR", here}}));
    EXPECT_EQ(found.rank, 1);
    EXPECT_EQ(found.local_rank, 1) << here;  // all are on this host
    EXPECT_EQ(found.local_world_size, 2) << here;
    EXPECT_TRUE(found.one_node());
  }
  const Environment apart = detect_environment(with(four, {{"MASTER_ADDR", "node0"}}));
  EXPECT_EQ(apart.local_rank, 0);
  EXPECT_EQ(apart.local_world_size, 1);
  EXPECT_EQ(apart.master.text(), "node0:29655");
  // What is said is kept; a part of it is enough where the rest can be told.
  EXPECT_EQ(detect_environment(with(four, {{"LOCAL_RANK", "0"}})).local_rank, 0);
  const std::string half = error_of(with(four, {{"MASTER_ADDR", "node0"}, {"LOCAL_RANK", "1"}}));
  EXPECT_NE(half.find("LOCAL_WORLD_SIZE is missing"), std::string::npos) << half;
}

TEST(DetectEnvironment, NeedsNoAddressForAWorldOfOne) {
  for (const Variables& alone : {Variables{{"WORLD_SIZE", "1"}},
                                 {{"RANK", "0"}, {"WORLD_SIZE", "1"}},
                                 {{"RANK", "0"}, {"WORLD_SIZE", "1"}, {"LOCAL_RANK", "0"}},
                                 {{"RANK", "0"}, {"WORLD_SIZE", "1"}, {"MASTER_PORT", "29500"}},
                                 {{"RANK", "0"}, {"WORLD_SIZE", "1"}, {"MASTER_ADDR", "pod-0"}}}) {
    const Environment found = detect_environment(alone);
    EXPECT_EQ(found.rank, 0);
    EXPECT_EQ(found.world_size, 1);
    EXPECT_EQ(found.local_rank, 0);
    EXPECT_EQ(found.local_world_size, 1);
  }
  EXPECT_NE(error_of({{"WORLD_SIZE", "2"}}).find("RANK, MASTER_ADDR, MASTER_PORT are missing"),
            std::string::npos);
  EXPECT_NE(error_of({{"RANK", "0"}}).find("WORLD_SIZE is missing"), std::string::npos);
  EXPECT_NE(error_of({{"RANK", "1"}, {"WORLD_SIZE", "1"}}).find("rank 1 of 1"), std::string::npos);
}

TEST(DetectEnvironment, ReadsOpenMpiOnOneNode) {
  const Environment found = detect_environment(kOpenMpi);
  EXPECT_EQ(found.source, "Open MPI");
  EXPECT_EQ(found.rank, 1);
  EXPECT_TRUE(found.one_node());
  EXPECT_EQ(found.master.host, "127.0.0.1");
  EXPECT_GE(found.master.port, 29500);
  EXPECT_LT(found.master.port, 32768);
  // Another job on the same machine gets another port; a chosen one is kept.
  EXPECT_NE(found.master.port, detect_environment(with(kOpenMpi, {{"PMIX_NAMESPACE", "13.1"}})).master.port);
  EXPECT_EQ(detect_environment(with(kOpenMpi, {{"MASTER_PORT", "1234"}})).master.port, 1234);
}

TEST(DetectEnvironment, ReadsThePmiFamily) {
  const Environment pmi = detect_environment(
      {{"PMI_RANK", "2"}, {"PMI_SIZE", "3"}, {"MPI_LOCALRANKID", "2"}, {"MPI_LOCALNRANKS", "3"}});
  EXPECT_EQ(pmi.source, "PMI");
  EXPECT_EQ(pmi.rank, 2);
  const Environment pmix = detect_environment(
      {{"PMIX_RANK", "0"}, {"PMIX_SIZE", "1"}, {"PMIX_LOCAL_RANK", "0"}, {"PMIX_LOCAL_SIZE", "1"}});
  EXPECT_EQ(pmix.source, "PMIx");
  const Environment mvapich = detect_environment({{"MV2_COMM_WORLD_RANK", "1"},
                                                  {"MV2_COMM_WORLD_SIZE", "4"},
                                                  {"MV2_COMM_WORLD_LOCAL_RANK", "1"},
                                                  {"MV2_COMM_WORLD_LOCAL_SIZE", "2"},
                                                  {"MASTER_ADDR", "a"}});
  EXPECT_EQ(mvapich.source, "MVAPICH");
  EXPECT_EQ(mvapich.master.host, "a");
}

TEST(DetectEnvironment, IsAloneInASlurmAllocationOutsideOfSteps) {
  for (const char* id : {"4294967290", "4294967291"}) {  // salloc's shell, sbatch's script
    const Environment found =
        detect_environment(with(kSlurm, {{"SLURM_PROCID", "0"}, {"SLURM_STEP_ID", id}}));
    EXPECT_EQ(found.world_size, 1) << id;
    EXPECT_EQ(found.source, "");
  }
  EXPECT_EQ(detect_environment(with(kSlurm, {{"SLURM_STEP_ID", "3"}})).world_size, 7);
}

TEST(DetectEnvironment, ReadsASlurmStep) {
  const Environment found = detect_environment(kSlurm);
  EXPECT_EQ(found.source, "Slurm");
  EXPECT_EQ(found.rank, 5);
  EXPECT_EQ(found.world_size, 7);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.local_world_size, 2);
  EXPECT_EQ(found.master.host, "n08");
  // srun --mpi=pmix and pmi2 set a few of PMI's variables as well.
  EXPECT_EQ(detect_environment(with(kSlurm, {{"PMIX_RANK", "5"}})).source, "Slurm");
  EXPECT_EQ(detect_environment(with(kSlurm, {{"PMI_RANK", "5"}, {"PMI_SIZE", "7"}})).source, "Slurm");
  // On one node the store stays on loopback.
  EXPECT_EQ(detect_environment(with(kSlurm, {{"SLURM_NNODES", "1"},
                                             {"SLURM_NODEID", "0"},
                                             {"SLURM_STEP_NODELIST", "n08"},
                                             {"SLURM_STEP_TASKS_PER_NODE", "7"}}))
                .master.host,
            "127.0.0.1");
}

TEST(DetectEnvironment, KnowsABatchScriptFromAStep) {
  Variables batch = with(kSlurm, {{"SLURM_PROCID", "0"}});
  batch.erase("SLURM_STEP_NODELIST");
  EXPECT_NE(error_of(batch).find("SLURM_STEP_NODELIST is missing. Start the processes with srun"),
            std::string::npos)
      << error_of(batch);
  batch = with(batch, {{"SLURM_NTASKS", "1"},
                       {"SLURM_NNODES", "1"},
                       {"SLURM_NODEID", "0"},
                       {"SLURM_LOCALID", "0"},
                       {"SLURM_STEP_TASKS_PER_NODE", "1"}});
  EXPECT_EQ(detect_environment(batch).world_size, 1);
}

TEST(DetectEnvironment, ReadsAnIndexedKubernetesJob) {
  const Environment found =
      detect_environment({{"JOB_COMPLETION_INDEX", "2"}, {"WORLD_SIZE", "3"}, {"MASTER_ADDR", "job-0.svc"}});
  EXPECT_EQ(found.source, "Kubernetes");
  EXPECT_EQ(found.rank, 2);
  EXPECT_EQ(found.local_rank, 0);
  EXPECT_EQ(found.master.text(), "job-0.svc:29500");
  const std::string half = error_of({{"JOB_COMPLETION_INDEX", "2"}});
  EXPECT_NE(half.find("JOB_COMPLETION_INDEX is there, but WORLD_SIZE is missing"), std::string::npos) << half;
  const std::string no_master = error_of({{"JOB_COMPLETION_INDEX", "0"}, {"WORLD_SIZE", "3"}});
  EXPECT_NE(no_master.find("MASTER_ADDR is missing"), std::string::npos) << no_master;
}

TEST(DetectEnvironment, TakesTheFirstSet) {
  EXPECT_EQ(detect_environment(with(with(kTorchrun, kOpenMpi), kSlurm)).source, "torchrun");
  EXPECT_EQ(detect_environment(with(kOpenMpi, kSlurm)).source, "Open MPI");
  EXPECT_EQ(detect_environment(with(kSlurm, {{"JOB_COMPLETION_INDEX", "0"}})).source, "Slurm");
}

TEST(DetectEnvironment, NamesEachMissingVariable) {
  for (const Variables& whole : {kTorchrun, kSlurm, kOpenMpi})
    for (const auto& [name, value] : whole) {
      if (name.starts_with("PMIX") || name == "SLURM_JOB_ID" || name == "SLURM_STEP_TASKS_PER_NODE") continue;
      if (name == "OMPI_COMM_WORLD_RANK" || name == "SLURM_PROCID") continue;  // these begin their sets
      Variables half = whole;
      half.erase(name);
      EXPECT_NE(error_of(half).find(name), std::string::npos) << name << ": " << error_of(half);
      half[name] = "";  // empty is not set
      EXPECT_NE(error_of(half).find(name), std::string::npos) << name << ": " << error_of(half);
    }
}

TEST(DetectEnvironment, RefusesNumbersThatCannotBe) {
  for (const auto& [name, value] : Variables{{"RANK", "-1"},
                                             {"WORLD_SIZE", "0"},
                                             {"LOCAL_RANK", "1x"},
                                             {"LOCAL_WORLD_SIZE", "99999999999999999999"},
                                             {"MASTER_PORT", "65536"}}) {
    const std::string error = error_of(with(kTorchrun, {{name, value}}));
    EXPECT_NE(error.find(name), std::string::npos) << error;
    EXPECT_NE(error.find(value), std::string::npos) << error;
  }
  EXPECT_NE(error_of(with(kTorchrun, {{"RANK", "4"}})).find("rank 4 of 4"), std::string::npos);
  EXPECT_NE(error_of(with(kTorchrun, {{"LOCAL_RANK", "2"}})).find("local rank 2 of 2"), std::string::npos);
}

TEST(HostList, ExpandsAsSlurmDoes) {
  using Hosts = std::vector<std::string>;
  EXPECT_EQ(expand_host_list("n1"), Hosts({"n1"}));
  EXPECT_EQ(expand_host_list("n[1-3,7]"), Hosts({"n1", "n2", "n3", "n7"}));
  EXPECT_EQ(expand_host_list("n[08-11]"), Hosts({"n08", "n09", "n10", "n11"}));
  EXPECT_EQ(expand_host_list("a1,b[2-3]-ib,login"), Hosts({"a1", "b2-ib", "b3-ib", "login"}));
  EXPECT_EQ(expand_host_list("r[1-2]n[1,3]"), Hosts({"r1n1", "r1n3", "r2n1", "r2n3"}));
  EXPECT_EQ(expand_task_counts("2(x3),1"), std::vector<int>({2, 2, 2, 1}));
}

TEST(HostList, RefusesWhatIsMalformed) {
  for (const char* list : {"", "n[", "n]", "n[1-", "n[3-1]", "n[a]", "n[1-3", "a,,b", "n[1-99999999]",
                           "n[0-999]m[0-999]", "n[]", "n[1-2]]", "n[99999999999999999999]"})
    EXPECT_NE(test::error_of<UsageError>([&] { expand_host_list(list); }).find("expected"), std::string::npos)
        << list;
  for (const char* list : {"", "x", "2(x", "2(x)", "2(x99999999)", "(x2)"})
    EXPECT_NE(test::error_of<UsageError>([&] { expand_task_counts(list); }).find("expected"),
              std::string::npos)
        << list;
}

}  // namespace
}  // namespace diffract::distributed
