"""Optional: scenes in three dimensions (`train --solid`), drawn by panda3d's software renderer.

What they brought: nothing for the shipped model. One that learnt from the checkpoint of the shipped one
on 785,616 frames, three in ten of them of such scenes, got a success AUC of 0.608 (ball) and 0.708 (sign)
on generated sequences in three dimensions; the shipped model, which had never seen any, got 0.599
and 0.719. On labelled sequences it got 0.748 and 0.778, the shipped one 0.759 and 0.852.

Nothing here is imported unless such scenes are asked for; panda3d itself is imported by
`renderer.panda`, which says how to install it.
"""
