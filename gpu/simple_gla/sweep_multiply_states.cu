#include "gpu/simple_gla/sweep.cuh"

namespace groundstate::gpu::simple_gla {

template void run_sweep<Purpose::multiply_states>(const Sweep&, const SweepForm&, cudaStream_t);
template int sweep_stages<Purpose::multiply_states>(Index, const SweepForm&);

}  // namespace groundstate::gpu::simple_gla
