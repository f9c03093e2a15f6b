using Kernels.Bindgen.Read;
using Xunit;

namespace Kernels.Tests;

public class HeaderCommentTests
{
    private const string Text = """
        /** A macro. */
        #define KRN_ANSWER 42
        #define KRN_TEXT "no integer"
        #define KRN_FUNCTION(x) (x)

        /** Does it, and says
         *  how in two lines.
         *  source            what is read, told
         *                    in two lines
         *  target            what is written
         *  The rest is a remark.
         *  Errors: none. */
        int krn_do(int source, int target);

        /* Not documentation. */
        int krn_plain(void);

        enum krn_color {
            /** The first. */
            KRN_RED = 1,
            KRN_RED_LIKE = 2,
        };
        """;

    private readonly HeaderText _header = new("test.h", Text);

    [Fact]
    public void A_comment_is_taken_apart()
    {
        Comment comment = _header.CommentBefore(13, "source", "target");
        Assert.Equal("Does it, and says how in two lines.", comment.Summary);
        Assert.Equal([new("source", "what is read, told in two lines"), new("target", "what is written")], comment.Parameters);
        Assert.Equal("The rest is a remark.", comment.Remarks);
        Assert.Equal("Errors: none.", comment.Errors);
    }

    [Fact]
    public void A_word_that_is_no_parameter_does_not_begin_a_parameter()
    {
        Comment comment = _header.CommentBefore(13, "target");
        Assert.Single(comment.Parameters);
        Assert.StartsWith("Does it, and says how in two lines. source  ", comment.Summary, StringComparison.Ordinal);
    }

    [Fact]
    public void Other_comments_are_not_documentation() => Assert.Equal(Comment.None, _header.CommentBefore(16));

    [Fact]
    public void A_value_of_an_enum_has_its_own_comment()
    {
        Assert.Equal("The first.", _header.CommentBeforeValue(18, "KRN_RED").Summary);
        Assert.Equal(Comment.None, _header.CommentBeforeValue(18, "KRN_RED_LIKE"));
    }

    [Fact]
    public void Only_macros_that_stand_for_an_integer_are_constants()
    {
        ConstantDeclaration constant = Assert.Single(_header.Constants());
        Assert.Equal(("KRN_ANSWER", "42", "A macro."), (constant.Name, constant.Value, constant.Comment.Summary));
    }
}
