#include "gpu/core/generate.hpp"
#include "gpu/core/device.hpp"
#include <cstdio>
#include <cstring>
#include <vector>
using namespace groundstate;
template<class T> long compare(const char* name){
  const Index n=1000003; T* d; cudaMalloc(&d,n*sizeof(T)); 
  gpu::fill_normal(DeviceView<T,Time>(d,{n}),7,"q");
  std::vector<T> got(n); cudaMemcpy(got.data(),d,n*sizeof(T),cudaMemcpyDeviceToHost);
  RandomStream s(7,"q"); long bad=0; for(Index i=0;i<n;i++){ T want=T(s.normal(i)); if(std::memcmp(&want,&got[i],sizeof(T))) bad++; }
  printf("%s: %ld of %ld differ\n",name,bad,(long)n); return bad; }
int main(){ auto d=gpu::device_name(); printf("device %s\n", d?d->c_str():"none"); long b=compare<double>("fp64")+compare<float>("fp32")+compare<bf16>("bf16")+compare<fp16>("fp16"); return b!=0; }
