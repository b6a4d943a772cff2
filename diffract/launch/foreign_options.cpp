#include "diffract/launch/option_table.h"

namespace diffract::launch {

std::vector<OptionSpec> options_without_effect() {
  const auto none = [](std::string_view name, std::string_view value, std::string_view instead,
                       std::string_view usual = {}, char letter = 0) {
    return OptionSpec{.name = name,
                      .letter = letter,
                      .value = value,
                      .launchers_own = false,
                      .help = instead,
                      .without_effect = true,
                      .usual = usual};
  };
  return {
      none("start-method", "spawn|fork|forkserver", "each process is a program of its own", "spawn"),
      none("signals-to-handle", "SIGNALS", "SIGINT, SIGTERM, SIGHUP and SIGQUIT are passed on",
           "SIGTERM,SIGINT,SIGHUP,SIGQUIT"),
      none("numa-binding", "POLICY", "diffract's processes bind themselves to cores of their own"),
      none("event-log-handler", "NAME", "DIFFRACT_LOG=debug logs more", "null"),
      none("logs-specs", "NAME", "--log-dir, -r and -t say what is logged", "default"),
      none("duplicate-stdout-filters", "TEXT", "-t 1 with --log-dir writes all of it to files"),
      none("duplicate-stderr-filters", "TEXT", "-t 2 with --log-dir writes all of it to files"),
      none("run-path", "", "a program whose name ends in .py is run with python"),
      none("multi-gpu", "", "each process takes a GPU of its own where there are some"),
      none("enable-cpu-affinity", "", "diffract's processes bind themselves to cores of their own"),
      none("same-network", "", "the machines meet at --master-addr or --rdzv-endpoint"),
      none("dynamo-mode", "MODE", "diffract compiles no models", "default"),
      none("dynamo-use-fullgraph", "", "diffract compiles no models"),
      none("dynamo-use-dynamic", "", "diffract compiles no models"),
      none("dynamo-use-regional-compilation", "", "diffract compiles no models"),
      none("main-training-function", "NAME", "a program is run from its beginning", "main"),
      none("downcast-bf16", "", "it is for TPUs"),
      none("debug", "", "DIFFRACT_LOG=debug logs more"),
      none("quiet", "", "DIFFRACT_LOG=error logs errors only", {}, 'q'),
  };
}

std::span<const ForeignName> foreign_options() {
  constexpr std::string_view kProcesses = "processes on this machine are --nproc-per-node";
  constexpr std::string_view kMachines = "machines are --nnodes";
  constexpr std::string_view kTraining = "it is for training, which diffract does not do; leave it out";
  constexpr std::string_view kHosts =
      "run diffract launch on each machine, or use mpirun: see docs/clusters.md";
  constexpr std::string_view kOtherDevice = "diffract computes on CPUs and CUDA GPUs; leave it out";
  constexpr std::string_view kThreads = "threads of each process are --num-cpu-threads-per-process";
  static constexpr ForeignName names[] = {
      {"n", kProcesses},
      {"np", kProcesses},
      {"nproc", kProcesses},
      {"nprocs", kProcesses},
      {"num-procs", kProcesses},
      {"num-workers", kProcesses},
      {"processes", kProcesses},
      {"ntasks", "processes on all machines together are --num-processes"},
      {"world-size", "processes on all machines together are --num-processes"},
      {"ntasks-per-node", kProcesses},
      {"nproc-per-host", kProcesses},
      {"procs-per-node", kProcesses},
      {"ppn", kProcesses},
      {"num-gpus", "one process for each GPU is --nproc-per-node gpu; --gpu-ids chooses some"},
      {"gpus", "one process for each GPU is --nproc-per-node gpu; --gpu-ids chooses some"},
      {"gpus-per-node", "one process for each GPU is --nproc-per-node gpu; --gpu-ids chooses some"},
      {"devices", "one process for each GPU is --nproc-per-node gpu; --gpu-ids chooses some"},
      {"nodes", kMachines},
      {"num-nodes", kMachines},
      {"rank", "which machine this is says --node-rank; processes get their ranks"},
      {"nnode", kMachines},
      {"host", kHosts},
      {"hosts", kHosts},
      {"hostfile", kHosts},
      {"machinefile", kHosts},
      {"mpirun-hostfile", kHosts},
      {"mpirun-ccl", kHosts},
      {"ip", "the first machine is --master-addr"},
      {"port", "the port of the first machine is --master-port"},
      {"rdzv-timeout", "it is --rdzv-conf join_timeout=SECONDS"},
      {"timeout", "how long machines are waited for is --rdzv-conf join_timeout=SECONDS"},
      {"restarts", "it is --max-restarts"},
      {"retries", "it is --max-restarts"},
      {"threads", kThreads},
      {"num-threads", kThreads},
      {"cpus-per-task", kThreads},
      {"log-level", "the variable DIFFRACT_LOG is debug, info, warning or error"},
      {"verbose", "the variable DIFFRACT_LOG=debug logs more"},
      {"output-filename", "log files are --log-dir with -r 3 or -t 3"},
      {"bind-to", "diffract's processes bind themselves to cores of their own; leave it out"},
      {"oversubscribe", "more processes than cores are allowed; leave it out"},
      {"allow-run-as-root", "root may run it; leave it out"},
      {"use-deepspeed", kTraining},
      {"deepspeed-config-file", kTraining},
      {"zero-stage", kTraining},
      {"use-fsdp", kTraining},
      {"use-megatron-lm", kTraining},
      {"use-parallelism-config", kTraining},
      {"gradient-accumulation-steps", kTraining},
      {"tpu", kOtherDevice},
      {"use-xpu", kOtherDevice},
      {"ipex", kOtherDevice},
  };
  return names;
}

}  // namespace diffract::launch
