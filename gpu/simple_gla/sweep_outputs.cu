#include "gpu/simple_gla/sweep.cuh"

namespace groundstate::gpu::simple_gla {

template void run_sweep<Purpose::outputs>(const Sweep&, const SweepForm&, cudaStream_t);
template int sweep_stages<Purpose::outputs>(Index, const SweepForm&);

}  // namespace groundstate::gpu::simple_gla
