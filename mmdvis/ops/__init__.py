"""Operators that mmcv compiles, in plain PyTorch, with the arguments and the in-place outputs of ``mmcv._ext``.

``mmcv.ops`` calls them through :mod:`mmdvis.mmcv_ops_fallback` if its compiled operators are not installed. Numbers of
half precision are computed in float32; float64 stays. Gradients go through mmcv's own autograd functions.
"""

COMPUTED = {  # name in mmcv._ext -> module of this package; modules are imported when an operator is called
    'nms': 'nms',
    'softnms': 'nms',
    'nms_match': 'nms',
    'roi_align_forward': 'roi_align',
    'roi_align_backward': 'roi_align',
    'deform_conv_forward': 'deform_conv',
    'deform_conv_backward_input': 'deform_conv',
    'deform_conv_backward_parameters': 'deform_conv',
    'modulated_deform_conv_forward': 'deform_conv',
    'modulated_deform_conv_backward': 'deform_conv',
    'sigmoid_focal_loss_forward': 'focal_loss',
    'sigmoid_focal_loss_backward': 'focal_loss',
    'softmax_focal_loss_forward': 'focal_loss',
    'softmax_focal_loss_backward': 'focal_loss',
    'ms_deform_attn_forward': 'deform_attn',
    'ms_deform_attn_backward': 'deform_attn',
}
