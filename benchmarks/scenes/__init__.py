"""GenEval without any download: composed scenes of known truth, a small detector trained on them, and its agreement.

`colours` and `pen` draw, `objects` are what is drawn, `backgrounds` what they stand before; `tasks` says what a caption
asks for and what a scene shows, `compose` makes the picture and `folder` GenEval's layout; `network`, `training` and
`detector` are the judge, `agreement` measures it.
"""
