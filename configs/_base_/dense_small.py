# The backbone of the small runs on shapes: the layout and the shipped weights of CIFAR-10, at strides 4 to 32.
backbone = dict(
    _delete_=True,
    type='ranet_mm.ResidualAttentionNet',
    arch='attention56_cifar',
    stem_stride=2,
    stem_pool=True,
    post_stride=2,
    zero_init_last=True,
    out_indices=(0, 1, 2, 3),
    init_cfg=dict(type='Pretrained', checkpoint='ranet_mm://attention56_cifar.cifar10'),
)
