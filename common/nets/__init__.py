"""The networks, in the order in which a picture walks them.

backbone -> joint_stage (with lgblock in it) -> mesh_stage -> refine_stage; losses judge what comes out.
heatmap: coordinates of 2.5-D joints. layers, graph: the blocks that stages are made of.
eanet: the predecessor. ablations: LGNet with a box left out. attention_maps: where LGBlock looks.
"""
